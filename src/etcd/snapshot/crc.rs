//! CRC-32C (Castagnoli), by which `etcdutl snapshot status` sums up a snapshot.

/// The polynomial, lowest bit first.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// The checksum of what was added so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Crc32c(u32);

impl Crc32c {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let step = |value: u32, byte: &u8| value >> 8 ^ TABLE[usize::from(value as u8 ^ byte)];
        self.0 = !bytes.iter().fold(!self.0, step);
    }

    pub(super) fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Crc32c;

    /// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    #[test]
    fn known_sums() {
        let mut crc = Crc32c::default();
        assert_eq!(crc.value(), 0);
        crc.add(b"1234");
        crc.add(b"56789");
        assert_eq!(crc.value(), 0xE306_9283);
        let mut zeros = Crc32c::default();
        zeros.add(&[0; 32]);
        assert_eq!(zeros.value(), 0x8A91_36AA);
    }
}
