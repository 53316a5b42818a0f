// Blocks are expanded by all threads, a run of them each.
#include "store/gguf_tensors.h"

#include <ATen/Parallel.h>

#include <cstring>

namespace hypenet {
namespace {

/// A view of the file. What is not aligned is copied.
Tensor view(const std::shared_ptr<const GgufModel>& model, const GgufTensor& stored,
            const std::vector<int64_t>& shape, torch::ScalarType type) {
  auto* const data = const_cast<std::byte*>(stored.blocks.data());
  if (reinterpret_cast<uintptr_t>(data) % torch::elementSize(type) == 0) {
    return torch::from_blob(
        data, shape, [model](void*) {}, type);
  }
  Tensor copy = torch::empty(shape, type);
  std::memcpy(copy.data_ptr(), data, stored.blocks.size());
  return copy;
}

Tensor expand(const GgufTensor& stored) {
  constexpr int64_t kValuesOfARun = 1 << 16;
  Tensor values = torch::empty(stored.shape, torch::kFloat32);
  const BlockLayout& layout = block_layout(stored.type);
  auto* const numbers = values.data_ptr<float>();
  const std::byte* const blocks = stored.blocks.data();
  at::parallel_for(0, values.numel() / layout.values, kValuesOfARun / layout.values,
                   [&](int64_t begin, int64_t end) {
                     expand_blocks(stored.type, blocks + begin * layout.bytes, end - begin,
                                   numbers + begin * layout.values);
                   });
  return values;
}

/// Rows 2i and 2i + 1 of a head go to i and to half of its size + i.
Tensor halves_apart(const Tensor& tensor, int64_t heads) {
  return tensor.unflatten(0, {heads, -1, 2}).transpose(1, 2).flatten(0, 2);
}

}  // namespace

torch::ScalarType type_of(BlockType type) {
  if (type == BlockType::kF16) return torch::kFloat16;
  return type == BlockType::kBF16 ? torch::kBFloat16 : torch::kFloat32;
}

Tensor gguf_tensor(const std::shared_ptr<const GgufModel>& model, const PublishedTensor& tensor,
                   std::optional<torch::ScalarType> type) {
  const GgufTensor& stored = *tensor.stored;
  const bool is_plain = block_layout(stored.type).is_plain;
  Tensor values =
      is_plain ? view(model, stored, stored.shape, type_of(stored.type)) : expand(stored);
  if (type) values = values.to(*type);
  return tensor.paired_heads > 0 ? halves_apart(values, tensor.paired_heads) : values;
}

Tensor gguf_blocks(const std::shared_ptr<const GgufModel>& model, const PublishedTensor& tensor) {
  const GgufTensor& stored = *tensor.stored;
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < stored.shape.size(); ++i) rows *= stored.shape[i];
  const auto bytes = static_cast<int64_t>(stored.blocks.size());
  return view(model, stored, {rows, bytes / rows}, torch::kUInt8);
}

}  // namespace hypenet
