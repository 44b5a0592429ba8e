//! [`super::crc::change`] with x86-64's CRC-32C and carry-less multiplication instructions.

use super::crc::POWERS;
use std::arch::x86_64::{
    _mm_clmulepi64_si128, _mm_crc32_u32, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64,
};

/// None when this processor lacks the instructions.
pub(super) fn change(difference: &[u8; 40], following_bytes: u32) -> Option<u32> {
    if !(is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.2")) {
        return None;
    }
    // SAFETY: the function needs exactly the two features just detected, and has no other condition.
    Some(unsafe { change_with_instructions(difference, following_bytes) })
}

#[target_feature(enable = "pclmulqdq,sse4.2")]
fn change_with_instructions(difference: &[u8; 40], following_bytes: u32) -> u32 {
    let mut raw = 0;
    for eight in difference.as_chunks::<8>().0 {
        raw = _mm_crc32_u64(raw, u64::from_le_bytes(*eight));
    }
    multiply(raw as u32, power(following_bytes))
}

/// x^(8n) mod P.
#[target_feature(enable = "pclmulqdq,sse4.2")]
fn power(bytes: u32) -> u32 {
    let [b0, b1, b2, b3] = bytes.to_le_bytes().map(usize::from);
    let mut power = POWERS[0][b0];
    if bytes >= 1 << 8 {
        power = multiply(power, POWERS[1][b1]);
    }
    if bytes >= 1 << 16 {
        power = multiply(power, POWERS[2][b2]);
    }
    if bytes >= 1 << 24 {
        power = multiply(power, POWERS[3][b3]);
    }
    power
}

/// a · b mod P. The product of two reflected 32-bit polynomials is one bit short of a reflected 64-bit one, so it is moved
/// up by a bit; its high terms (the low half) are then reduced by the CRC instruction, which multiplies by x^32 mod P.
#[target_feature(enable = "pclmulqdq,sse4.2")]
fn multiply(a: u32, b: u32) -> u32 {
    let product = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(i64::from(a)), _mm_cvtsi64_si128(i64::from(b)));
    let product = (_mm_cvtsi128_si64(product) as u64) << 1;
    (product >> 32) as u32 ^ _mm_crc32_u32(0, product as u32)
}
