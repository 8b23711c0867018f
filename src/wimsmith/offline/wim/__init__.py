"""WIM files: the container in pure Python, the codecs in a worker process."""
