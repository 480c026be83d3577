"""What a program file says about itself (elf(5))."""

import struct


class Elf:
    """The few facts the tests go by."""

    INTERPRETER, LOAD = 3, 1

    def __init__(self, path):
        octets = path.read_bytes()
        if octets[:4] != b"\x7fELF":
            raise ValueError(f"{path} is no ELF file")
        wide = octets[4] == 2
        self.octets = octets
        self.machine = struct.unpack_from("<H", octets, 18)[0]
        table, sections = struct.unpack_from("<QQ" if wide else "<II", octets, 32 if wide else 28)
        size, count = struct.unpack_from("<HH", octets, 54 if wide else 42)
        form = "<IIQQQQQQ" if wide else "<IIIIIIII"
        self.alignments, self.is_static = [], True
        for number in range(count):
            fields = struct.unpack_from(form, octets, table + number * size)
            if fields[0] == self.LOAD:
                self.alignments.append(fields[-1])
            if fields[0] == self.INTERPRETER:
                self.is_static = False
        self.has_symbols = self._section_kinds(wide, sections) & {2} != set()

    def _section_kinds(self, wide, table):
        size, count = struct.unpack_from("<HH", self.octets, 58 if wide else 46)
        return {struct.unpack_from("<II", self.octets, table + number * size)[1] for number in range(count)}
