// Philox 4x32-10 (Salmon et al., SC 2011): four 32-bit words for a 128-bit counter and a 64-bit key.
#pragma once

struct PhiloxWords {
    uint32_t word[4];
};

DEVICE inline PhiloxWords philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) {
    uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
    uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Uniform in [0, 1): 24 bits, exact in float.
DEVICE inline Real uniform01(uint32_t word) { return (Real)(word >> 8) * (Real)5.9604644775390625e-8; }
