"""The viewer: a web page, for this machine only, that shows an output folder's masks over their images."""
