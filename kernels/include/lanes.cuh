// 16-byte vectors. `At<N>` names N consecutive elements; `load` and `store` move them, as one or two 128-bit accesses on the GPU,
// and convert between storage type and Real. Kernel bodies loop over lanes, so that one body serves every width.
#pragma once

template <int N> struct At {
    static constexpr int lanes = N;
    int64_t index;
    DEVICE At operator+(int64_t elements) const { return At{index + elements}; }
};

// Position in a [rows, channels] matrix: flat index of the first element, and its channel.
template <int N> struct AtChannel {
    static constexpr int lanes = N;
    int64_t index;
    int64_t row;
    int channel;
    DEVICE At<N> in_row() const { return At<N>{channel}; }
};

// N values in registers. Whole-lane expressions (`(x - mean) * scale + shift`) are exact IEEE operations per lane on both targets; on the
// host one instruction takes WIDTH of them (compilers do not reliably find this by themselves where a sum is carried round a loop).
template <int N> struct Lanes {
    static constexpr int WIDTH = SIMD_WIDTH<Real, N>;
    static constexpr int parts = N / WIDTH;
    using Part = typename Simd<Real, WIDTH>::type;

    Real lane[N];
    DEVICE Real& operator[](int k) { return lane[k]; }
    DEVICE const Real& operator[](int k) const { return lane[k]; }

    DEVICE Part part(int i) const {
        if constexpr (WIDTH == 1) return lane[i];
        else return simd_load<Part>(lane + i * WIDTH);
    }
    DEVICE void set_part(int i, Part value) {
        if constexpr (WIDTH == 1) lane[i] = value;
        else simd_store(lane + i * WIDTH, value);
    }
};

// f applied lane by lane. f is a generic lambda over Real, or over several Reals at once: arithmetic, comparison and ?: only.
template <typename F, int N, typename... More> DEVICE inline Lanes<N> map(F f, const Lanes<N>& a, const More&... more) {
    Lanes<N> out;
#pragma unroll
    for (int i = 0; i < Lanes<N>::parts; ++i) out.set_part(i, f(a.part(i), more.part(i)...));
    return out;
}

template <int N> DEVICE inline Lanes<N> operator+(const Lanes<N>& a, const Lanes<N>& b) {
    return map([](auto x, auto y) { return x + y; }, a, b);
}
template <int N> DEVICE inline Lanes<N> operator-(const Lanes<N>& a, const Lanes<N>& b) {
    return map([](auto x, auto y) { return x - y; }, a, b);
}
template <int N> DEVICE inline Lanes<N> operator*(const Lanes<N>& a, const Lanes<N>& b) {
    return map([](auto x, auto y) { return x * y; }, a, b);
}
template <int N> DEVICE inline Lanes<N> operator*(const Lanes<N>& a, Real b) {
    return map([b](auto x) { return x * b; }, a);
}
template <int N> DEVICE inline Lanes<N> operator/(const Lanes<N>& a, Real b) {
    return map([b](auto x) { return x / b; }, a);
}
// The larger of both; a NaN stays one, so that an overflow is not hidden by a rectifier.
template <int N> DEVICE inline Lanes<N> at_least(const Lanes<N>& a, Real floor) {
    return map([floor](auto x) { return x < floor ? floor : x; }, a);
}
// a where `mask` is positive, else 0: the derivative of the rectifier that gave `mask`.
template <int N> DEVICE inline Lanes<N> where_positive(const Lanes<N>& mask, const Lanes<N>& a) {
    return map([](auto m, auto x) { decltype(x) zero = {}; return m > zero ? x : zero; }, mask, a);
}

template <typename E> constexpr bool is_real = false;
template <> constexpr bool is_real<Real> = true;

// Elements per 16-byte access of the file's storage type.
constexpr int VECTOR = 16 / sizeof(T);

// PACKETS (a constant of the target): whether 16-byte accesses are spelt out, or left to the compiler's vectoriser as on the host.
template <int BYTES> struct alignas(BYTES < 16 ? BYTES : 16) Packet { unsigned char byte[BYTES]; };

template <typename Position, typename E> DEVICE inline Lanes<Position::lanes> load(const E* p, Position at) {
    constexpr int N = Position::lanes;
    Lanes<N> out;
    if constexpr (Lanes<N>::WIDTH > 1 && is_real<E>) {
        for (int i = 0; i < Lanes<N>::parts; ++i) out.set_part(i, simd_load<typename Lanes<N>::Part>(p + at.index + i * Lanes<N>::WIDTH));
    } else if constexpr (N == 1 || !PACKETS) {
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
    if constexpr (Lanes<N>::WIDTH > 1 && is_real<E>) {
        for (int i = 0; i < Lanes<N>::parts; ++i) simd_store(p + at.index + i * Lanes<N>::WIDTH, value.part(i));
    } else if constexpr (N == 1 || !PACKETS) {
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
