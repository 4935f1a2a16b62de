// 16-byte vectors. `At<N>` names N consecutive elements; `load` and `store` move them, as one or two 128-bit accesses on the GPU,
// and convert between storage type and Real. Kernel bodies loop over lanes, so that one body serves every width.
#pragma once

template <int N> struct At {
    static constexpr int lanes = N;
    int64_t index;
};

// Position in a [rows, channels] matrix: flat index of the first element, and its channel.
template <int N> struct AtChannel {
    static constexpr int lanes = N;
    int64_t index;
    int64_t row;
    int channel;
    DEVICE At<N> in_row() const { return At<N>{channel}; }
};

template <int N> struct Lanes {
    Real lane[N];
    DEVICE Real& operator[](int k) { return lane[k]; }
    DEVICE const Real& operator[](int k) const { return lane[k]; }
};

// Elements per 16-byte access of the file's storage type.
constexpr int VECTOR = 16 / sizeof(T);

// PACKETS (a constant of the target): whether 16-byte accesses are spelt out, or left to the compiler's vectoriser as on the host.
template <int BYTES> struct alignas(BYTES < 16 ? BYTES : 16) Packet { unsigned char byte[BYTES]; };

template <typename Position, typename E> DEVICE inline Lanes<Position::lanes> load(const E* p, Position at) {
    constexpr int N = Position::lanes;
    Lanes<N> out;
    if constexpr (N == 1 || !PACKETS) {
        for (int k = 0; k < N; ++k) out[k] = to_real(p[at.index + k]);
    } else {
        alignas(16) E raw[N];
        using P = Packet<(sizeof(E) * N < 16 ? sizeof(E) * N : 16)>;
        constexpr int packets = sizeof(E) * N / sizeof(P);
#pragma unroll
        for (int i = 0; i < packets; ++i) copy_packet(reinterpret_cast<P*>(raw) + i, reinterpret_cast<const P*>(p + at.index) + i);
#pragma unroll
        for (int k = 0; k < N; ++k) out[k] = to_real(raw[k]);
    }
    return out;
}

template <typename Position, typename E> DEVICE inline void store(E* p, Position at, const Lanes<Position::lanes>& value) {
    constexpr int N = Position::lanes;
    if constexpr (N == 1 || !PACKETS) {
        for (int k = 0; k < N; ++k) p[at.index + k] = from_real<E>::convert(value[k]);
    } else {
        alignas(16) E raw[N];
#pragma unroll
        for (int k = 0; k < N; ++k) raw[k] = from_real<E>::convert(value[k]);
        using P = Packet<(sizeof(E) * N < 16 ? sizeof(E) * N : 16)>;
        constexpr int packets = sizeof(E) * N / sizeof(P);
#pragma unroll
        for (int i = 0; i < packets; ++i) copy_packet(reinterpret_cast<P*>(p + at.index) + i, reinterpret_cast<const P*>(raw) + i);
    }
}
