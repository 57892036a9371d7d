"""From a traced pass to machine code, by LLVM."""
