"""The native CPU decoder: a C++ core (`csrc/`), its library, and the Decoder over it."""
