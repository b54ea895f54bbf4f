from support.folders import folder

__all__ = ["folder"]
