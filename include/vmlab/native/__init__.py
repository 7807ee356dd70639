"""The lab's C code and how it is compiled; see ``build``."""
