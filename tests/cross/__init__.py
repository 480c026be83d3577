"""The binaries for boards, run here under qemu-user."""
