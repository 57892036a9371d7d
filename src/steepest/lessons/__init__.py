"""The documents that teach the subject, made again."""
