// Tensors are read, rounded and written some rows at a time.
#include "store/gguf_export.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "gguf/gguf_writer.h"

namespace hypenet {
namespace {

constexpr int64_t kValuesAtOnce = int64_t{1} << 24;

/// general.file_type: what llama.cpp calls a file whose matrices are of this type.
int64_t file_type(BlockType type) {
  switch (type) {
    case BlockType::kF16:
      return 1;
    case BlockType::kQ40:
      return 2;
    case BlockType::kQ80:
      return 7;
    case BlockType::kBF16:
      return 32;
    default:
      return 0;
  }
}

BlockType type_for(const GgufTensorName& name, BlockType type) {
  if (name.shape.size() < 2) return BlockType::kF32;
  const bool is_outside = !name.stored.starts_with("blk.");
  if (type == BlockType::kQ40 && is_outside) type = BlockType::kQ80;
  return name.shape.back() % block_layout(type).values == 0 ? type : BlockType::kF16;
}

/// Rows i and half of its size + i of a head go to 2i and 2i + 1.
Tensor pairs_together(const Tensor& tensor, int64_t heads) {
  return tensor.unflatten(0, {heads, 2, -1}).transpose(1, 2).flatten(0, 2);
}

/// The numbers that a published tensor has in the file.
Tensor values_for(const Checkpoint& checkpoint, const GgufTensorName& name) {
  const std::string head = "lm_head.weight";
  const bool is_tied_head = !checkpoint.contains(name.published) &&
                            name.published == "model.embed_tokens.weight" &&
                            checkpoint.contains(head);
  const Tensor tensor = checkpoint.tensor(is_tied_head ? head : name.published, name.shape);
  return name.paired_heads > 0 ? pairs_together(tensor, name.paired_heads) : tensor;
}

/// Blocks of all rows, uint8.
Tensor pack(const Tensor& rows, BlockType type) {
  constexpr int64_t kBlocksOfARun = 1 << 11;
  const BlockLayout& layout = block_layout(type);
  const Tensor values = rows.to(torch::kFloat32).contiguous();
  const int64_t count = values.numel() / layout.values;
  Tensor blocks = torch::empty({count * layout.bytes}, torch::kUInt8);
  const auto* const numbers = values.const_data_ptr<float>();
  auto* const bytes = static_cast<std::byte*>(blocks.data_ptr());
  at::parallel_for(0, count, kBlocksOfARun, [&](int64_t begin, int64_t end) {
    pack_blocks(type, numbers + begin * layout.values, end - begin, bytes + begin * layout.bytes);
  });
  return blocks;
}

torch::ScalarType plain_type(BlockType type) {
  if (type == BlockType::kF16) return torch::kFloat16;
  return type == BlockType::kBF16 ? torch::kBFloat16 : torch::kFloat32;
}

/// As they lie in the file.
Tensor round_to(const Tensor& rows, BlockType type, const std::string& place) {
  const bool is_plain = block_layout(type).is_plain;
  const bool holds_all = type == BlockType::kF32 || type == BlockType::kBF16;
  const Tensor rounded = is_plain ? rows.to(plain_type(type)).contiguous() : rows;
  HYPENET_CHECK(holds_all || rounded.isfinite().all().item<bool>(), place,
                ": expected finite numbers", is_plain ? " of at most 65504" : "", " (",
                block_layout(type).name, "), found others");
  return is_plain ? rounded : pack(rows, type);
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// The next tensor of the file; done(bytes) after each piece.
void write_tensor(const Checkpoint& checkpoint, const GgufTensorName& name, BlockType type,
                  GgufWriter& writer, const std::function<void(int64_t)>& done) {
  const std::string place = concat(checkpoint.folder().string(), ": tensor ", name.published);
  const Tensor values = values_for(checkpoint, name);
  const int64_t rows = values.size(0);
  const int64_t at_once = std::max<int64_t>(kValuesAtOnce / (values.numel() / rows), 1);
  for (int64_t row = 0; row < rows; row += at_once) {
    const Tensor some = values.narrow(0, row, std::min(at_once, rows - row));
    const Tensor blocks = round_to(some, type, place);
    writer.write(bytes_of(blocks));
    done(static_cast<int64_t>(blocks.nbytes()));
  }
}

}  // namespace

void write_gguf(const std::filesystem::path& path, const Checkpoint& checkpoint,
                const GgufHead& head, GgufKeyList keys, BlockType type,
                const std::function<void(int64_t, int64_t)>& progress) {
  std::vector<GgufTensorName> names;
  std::vector<GgufPlan> plans;
  int64_t all = 0, written = 0;
  each_gguf_tensor(head.architecture, head.sizes, head.is_tied, [&](const GgufTensorName& name) {
    names.push_back(name);
    plans.push_back({name.stored, type_for(name, type), name.shape});
    all += plans.back().bytes();
  });
  const auto pairs = static_cast<int64_t>(head.rope_divisors.size());
  if (pairs > 0) plans.push_back({"rope_freqs.weight", BlockType::kF32, {pairs}});
  keys.add_size("general.file_type", file_type(type));
  if (!block_layout(type).is_plain) keys.add_size("general.quantization_version", 2);
  GgufWriter writer(path, keys, plans);
  const auto done = [&](int64_t bytes) { progress(written += bytes, all); };
  for (size_t i = 0; i < names.size(); ++i) {
    write_tensor(checkpoint, names[i], plans[i].type, writer, done);
  }
  writer.write(std::as_bytes(std::span(head.rope_divisors)));
  writer.commit();
}

}  // namespace hypenet
