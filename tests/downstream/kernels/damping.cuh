#pragma once

// Between -1 and 1.
DEVICE inline Real damped(Real slope) { return slope / (1 + magnitude(slope)); }
