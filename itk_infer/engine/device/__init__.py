"""The engine's work on a device, with torch. Imported only where a backend takes tensors of one."""
