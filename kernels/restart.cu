// The worst of several attacks on an image, one after the other. Reads a number or two per image, and copies the images that are replaced.
#include "rocl.cuh"

// worst <- x where x does the image more harm: it fools the classifier and what was there did not, or both or neither do and its loss is higher. Loss and
// `correct` go with it; a NaN replaces nothing. x is [images, columns]; a block has an image.
COOPERATIVE_KERNEL(keep_worse)(const Real* x, const Real* loss, const Real* correct, Real* INPLACE worst, Real* INPLACE worst_loss,
                               Real* INPLACE worst_correct, int32_t columns) {
    int64_t image = blockIdx.x;
    bool fools = correct[image] == Real(0), fooled = worst_correct[image] == Real(0);
    bool replaces = fools == fooled ? loss[image] > worst_loss[image] : fools;
    // Before anyone writes what is compared.
    __syncthreads();
    if (!replaces) return;
    for (int32_t c = threadIdx.x; c < columns; c += blockDim.x) worst[image * columns + c] = x[image * columns + c];
    if (threadIdx.x == 0) {
        worst_loss[image] = loss[image];
        worst_correct[image] = correct[image];
    }
}
