//! Which slot of a Redis Cluster a name belongs to.
//!
//! Source: Redis Cluster specification, key distribution model and hash tags.

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key or shard channel: CRC16 of what stands between the first `{` and the next `}`, unless
/// that is nothing, otherwise of the whole.
pub(crate) fn slot_of(name: &[u8]) -> u16 {
    crc16(tag(name)) % SLOTS
}

fn tag(name: &[u8]) -> &[u8] {
    let Some(open) = name.iter().position(|&byte| byte == b'{') else { return name };
    let rest = name.get(open + 1..).unwrap_or_default();
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => name,
        Some(close) => rest.get(..close).unwrap_or(name),
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let index = usize::from((crc >> 8) ^ u16::from(byte)) & 0xff;
        (crc << 8) ^ TABLE.get(index).copied().unwrap_or_default()
    })
}

const TABLE: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let check = |name: &str, expected: u16| assert_eq!(slot_of(name.as_bytes()), expected, "{name}");
        // From CLUSTER KEYSLOT of Redis 7.0.
        check("foo", 12_182);
        check("{foo}bar", 12_182);
        check("a{foo}{bar}", 12_182);
        check("{}foo", slot_of(b"{}foo"));
        assert_ne!(slot_of(b"{}foo"), slot_of(b"foo"));
        check("a{foo", crc16(b"a{foo") % SLOTS);
    }
}
