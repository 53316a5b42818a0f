// Training moves every number of a matrix, so that its ends tell.
#include "run/model_identity.h"

#include <algorithm>

#include "base/fnv1a.h"

namespace hypenet {
namespace {

constexpr size_t kLookedAt = 4096;  // bytes at each end of a tensor

void add(Fnv1a& hash, const Tensor& tensor) {
  const Tensor whole = tensor.contiguous();
  const std::string_view bytes(static_cast<const char*>(whole.const_data_ptr()), whole.nbytes());
  hash.add(concat(tensor.scalar_type(), tensor.sizes(), ' '));
  hash.add(bytes.substr(0, kLookedAt));
  hash.add(bytes.substr(bytes.size() - std::min(bytes.size(), kLookedAt)));
}

}  // namespace

std::string model_identity(const Checkpoint& checkpoint) {
  Fnv1a hash;
  hash.add(checkpoint.config().dump());
  for (const std::string& name : checkpoint.names()) {
    hash.add(concat(' ', name, ' '));
    for (const Tensor& tensor : checkpoint.stored(name)) add(hash, tensor);
  }
  return hash.hex();
}

}  // namespace hypenet
