//! CRC-32C of a batch whose header changes while its payload stays unread.
//!
//! A CRC is linear over GF(2): with `d` = old bytes XOR new bytes, `crc(new) = crc(old) XOR raw(d)`, where `raw` is the CRC
//! without its initial and final inversions. And `raw(d followed by n zero bytes) = raw(d) · x^(8n) mod P`: the change of a
//! header in front of n unchanged bytes costs one multiplication by a power of x, which comes from byte tables.

/// CRC-32C (Castagnoli), bit-reflected: bit 31 is the coefficient of x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^0.
const ONE: u32 = 1 << 31;
/// x^8: one byte further.
const BYTE: u32 = 1 << 23;

/// `POWERS[j][b]` is x^(8·b·256^j) mod P: the factor for b·256^j bytes. Four tables serve any length below 4 GiB.
pub(super) static POWERS: [[u32; 256]; 4] = powers();

const fn powers() -> [[u32; 256]; 4] {
    let mut tables = [[ONE; 256]; 4];
    let mut step = BYTE;
    let mut j = 0;
    while j < 4 {
        let mut b = 1;
        while b < 256 {
            tables[j][b] = multiply(tables[j][b - 1], step);
            b += 1;
        }
        step = multiply(tables[j][255], step);
        j += 1;
    }
    tables
}

/// a · b mod P, one bit at a time.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if a & (1 << bit) != 0 {
            product ^= b;
        }
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
    }
    product
}

/// What to XOR to a CRC-32C when 40 bytes (the header's part that a batch's CRC covers) change by `difference` and
/// `following_bytes` unchanged bytes come after them.
pub fn change(difference: &[u8; 40], following_bytes: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(change) = super::crc_x86::change(difference, following_bytes) {
        return change;
    }
    change_in_software(difference, following_bytes)
}

/// [`change`] for processors without the instructions for it.
pub fn change_in_software(difference: &[u8; 40], following_bytes: u32) -> u32 {
    // The crate inverts on both sides: undo it.
    let raw = !crc32c::crc32c_append(!0, difference);
    following_bytes
        .to_le_bytes()
        .iter()
        .zip(&POWERS)
        .filter(|(digit, _)| **digit != 0)
        .fold(raw, |product, (digit, table)| multiply(product, table[usize::from(*digit)]))
}

/// CRC-32C of all that a batch's CRC covers: its header from the attributes on (40 bytes), and its payload.
pub fn of_batch(header_from_attributes: &[u8; 40], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header_from_attributes), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes `following_bytes` zero bytes through the crate, the slow way.
    fn by_full_computation(difference: &[u8; 40], following_bytes: usize) -> u32 {
        !crc32c::crc32c_append(crc32c::crc32c_append(!0, difference), &vec![0; following_bytes])
    }

    proptest! {
        #[test]
        fn both_ways_agree_with_a_full_computation(
            difference: [u8; 40],
            following_bytes in prop_oneof![0usize..600, 60_000usize..70_000, (1usize << 24) - 2..(1 << 24) + 2],
        ) {
            let expected = by_full_computation(&difference, following_bytes);
            prop_assert_eq!(change_in_software(&difference, following_bytes as u32), expected);
            prop_assert_eq!(change(&difference, following_bytes as u32), expected);
        }

        #[test]
        fn both_ways_agree_for_any_length(difference: [u8; 40], following_bytes: u32) {
            prop_assert_eq!(
                change(&difference, following_bytes),
                change_in_software(&difference, following_bytes)
            );
        }
    }
}
