// The program without device code.
#include "ranks/nccl.h"

#include "base/error.h"

namespace hypenet {

c10::intrusive_ptr<c10d::Backend> new_nccl(const c10::intrusive_ptr<c10d::Store>& /*store*/,
                                           int /*rank*/, int /*count*/) {
  throw Error("--device cuda: expected hypenet-cuda, found a program without device code");
}

}  // namespace hypenet
