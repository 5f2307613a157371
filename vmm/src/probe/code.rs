// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The probe guest: what a stock kernel does in its first moments, in long
//! mode and with paging on, as one short program.

/// Where the program lies in the guest.
pub const CODE: u64 = 0x8000;
/// A page that it reads and writes.
#[cfg(test)]
const DATA: u64 = 0x9000;
/// The port to which it writes its result.
pub const PORT: u16 = 0xfa;
/// The result of a CPU that does all of it right.
pub const RESULT: u32 = 0xbeef;

/// The program. Any exception is a triple fault: there is no IDT.
#[rustfmt::skip]
pub const PROGRAM: &[u8] = &[
    // BMI2, where CPUID offers it: 0x2e50 by shift, bit extraction and product.
    0xb8, 0x07, 0x00, 0x00, 0x00,                               // mov eax, 7
    0x31, 0xc9,                                                 // xor ecx, ecx
    0x0f, 0xa2,                                                 // cpuid
    0x0f, 0xba, 0xe3, 0x08,                                     // bt ebx, 8
    0xb8, 0x50, 0x2e, 0x00, 0x00,                               // mov eax, 0x2e50
    0x73, 0x23,                                                 // jnc sse
    0xbb, 0x17, 0xfa, 0x00, 0x00,                               // mov ebx, 0xfa17
    0xb9, 0x04, 0x00, 0x00, 0x00,                               // mov ecx, 4
    0xc4, 0xe2, 0xf1, 0xf7, 0xc3,                               // shlx rax, rbx, rcx
    0xba, 0xff, 0x00, 0xff, 0x00,                               // mov edx, 0x00ff00ff
    0xc4, 0xe2, 0xfa, 0xf5, 0xc2,                               // pext rax, rax, rdx
    0xba, 0x03, 0x00, 0x00, 0x00,                               // mov edx, 3
    0xc4, 0xe2, 0xfb, 0xf6, 0xf0,                               // mulx rsi, rax, rax
    // sse: SSE2 doubles it into memory.
    0x66, 0x48, 0x0f, 0x6e, 0xc0,                               // movq xmm0, rax
    0x66, 0x0f, 0x6f, 0xc8,                                     // movdqa xmm1, xmm0
    0x66, 0x0f, 0xd4, 0xc1,                                     // paddq xmm0, xmm1
    0x66, 0x0f, 0xef, 0xd2,                                     // pxor xmm2, xmm2
    0x66, 0x0f, 0x6c, 0xc2,                                     // punpcklqdq xmm0, xmm2
    0xf3, 0x0f, 0x7f, 0x04, 0x25, 0x00, 0x90, 0x00, 0x00,       // movdqu [DATA], xmm0
    // cmpxchg16b replaces 0x5ca0 with 0xbeef.
    0xb8, 0xa0, 0x5c, 0x00, 0x00,                               // mov eax, 0x5ca0
    0x31, 0xd2,                                                 // xor edx, edx
    0xbb, 0xef, 0xbe, 0x00, 0x00,                               // mov ebx, 0xbeef
    0x31, 0xc9,                                                 // xor ecx, ecx
    0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x90, 0x00, 0x00, // lock cmpxchg16b [DATA]
    0x75, 0x2f,                                                 // jne fail
    // The GS base and its swap, a new CR3, a TLB entry, the time stamp.
    0xb9, 0x01, 0x01, 0x00, 0xc0,                               // mov ecx, MSR_GS_BASE
    0xb8, 0x00, 0x90, 0x00, 0x00,                               // mov eax, DATA
    0x0f, 0x30,                                                 // wrmsr
    0x65, 0x48, 0x8b, 0x1c, 0x25, 0x00, 0x00, 0x00, 0x00,       // mov rbx, gs:[0]
    0x0f, 0x01, 0xf8,                                           // swapgs
    0x0f, 0x01, 0xf8,                                           // swapgs
    0x0f, 0x20, 0xd8,                                           // mov rax, cr3
    0x0f, 0x22, 0xd8,                                           // mov cr3, rax
    0x0f, 0x01, 0x3c, 0x25, 0x00, 0x90, 0x00, 0x00,             // invlpg [DATA]
    0x0f, 0x31,                                                 // rdtsc
    0x89, 0xd8,                                                 // mov eax, ebx
    0xe7, 0xfa,                                                 // out PORT, eax
    // fail:
    0xf4,                                                       // hlt
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_agree_with_the_bytes() {
        let words = |value: u32| value.to_le_bytes();
        let holds = |needle: &[u8]| PROGRAM.windows(needle.len()).any(|bytes| bytes == needle);
        assert!(holds(&words(RESULT)));
        assert!(holds(&words(u32::try_from(DATA).expect("below 4 GiB"))));
        assert!(holds(&[0xe7, u8::try_from(PORT).expect("an immediate port")]));
        assert!(CODE + (PROGRAM.len() as u64) < DATA);
    }

    #[test]
    fn both_jumps_land_where_they_should() {
        // jnc at 0x12 to the first SSE instruction, jne at 0x6d to hlt.
        assert_eq!(PROGRAM[0x12..0x14], [0x73, 0x23]);
        assert_eq!(PROGRAM[0x14 + 0x23..0x14 + 0x23 + 3], [0x66, 0x48, 0x0f]);
        assert_eq!(PROGRAM[0x6d..0x6f], [0x75, 0x2f]);
        assert_eq!(PROGRAM.len(), 0x6f + 0x2f + 1);
        assert_eq!(PROGRAM.last(), Some(&0xf4));
    }
}
