// Where kernels write instructions out: GCC alone lets a function that is inlined everywhere name
// registers that only its callers have. Others compile the plain forms.
#pragma once

#if defined(__x86_64__) && !defined(__clang__) && !defined(HYPENET_PLAIN_KERNELS)
#define HYPENET_INSTRUCTIONS
#endif
