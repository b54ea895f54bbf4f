"""The engine on a torch device. Imported only where a backend takes tensors on one."""
