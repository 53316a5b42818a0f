// Tensors begin at multiples of 32 bytes, the alignment of files that name none.
#include "gguf/gguf_writer.h"

#include <functional>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace hypenet {
namespace {

constexpr int64_t kAlignment = 32;
constexpr uint32_t kVersion = 3;

int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <class Number>
void put(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

std::string make_table(const std::vector<GgufPlan>& tensors) {
  std::string table;
  int64_t begin = 0;
  for (const GgufPlan& tensor : tensors) {
    put<uint64_t>(table, tensor.name.size());
    table += tensor.name;
    put(table, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put(table, *size);
    put(table, static_cast<uint32_t>(tensor.type));
    put(table, begin);
    begin += aligned(tensor.bytes());
  }
  return table;
}

}  // namespace

int64_t GgufPlan::bytes() const {
  const BlockLayout& layout = block_layout(type);
  const int64_t values =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  return values / layout.values * layout.bytes;
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufKeyList& keys,
                       std::vector<GgufPlan> tensors)
    : file_(path), path_(path.string()), tensors_(std::move(tensors)) {
  std::string head = "GGUF";
  put(head, kVersion);
  put<uint64_t>(head, tensors_.size());
  put(head, keys.count());
  head += keys.bytes();
  head += make_table(tensors_);
  file_.write(head);
  pad(static_cast<int64_t>(head.size()));
  if (!tensors_.empty()) missing_ = tensors_.front().bytes();
}

void GgufWriter::pad(int64_t written) {
  file_.write(std::string(static_cast<size_t>(aligned(written) - written), '\0'));
}

void GgufWriter::write(std::span<const std::byte> blocks) {
  const auto bytes = static_cast<int64_t>(blocks.size());
  if (bytes == 0) return;
  HYPENET_CHECK(bytes <= missing_, path_, ": expected at most ", missing_,
                " bytes more of a tensor, found ", bytes);
  file_.write(blocks.data(), blocks.size());
  missing_ -= bytes;
  if (missing_ > 0) return;
  pad(tensors_[tensor_].bytes());
  if (++tensor_ < tensors_.size()) missing_ = tensors_[tensor_].bytes();
}

void GgufWriter::commit() {
  HYPENET_CHECK(tensor_ == tensors_.size(), path_, ": expected ", tensors_.size(),
                " tensors, found ", tensor_);
  file_.commit();
}

}  // namespace hypenet
