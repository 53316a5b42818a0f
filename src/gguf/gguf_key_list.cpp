// Numbers are little-endian, as the machines are that this program runs on.
#include "gguf/gguf_key_list.h"

#include <limits>

#include "base/error.h"

namespace hypenet {

template <class Number>
void GgufKeyList::put(Number number) {
  bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
}

void GgufKeyList::put_text(std::string_view text) {
  put<uint64_t>(text.size());
  bytes_ += text;
}

void GgufKeyList::begin(std::string_view key, GgufKind kind) {
  put_text(key);
  put(static_cast<uint32_t>(kind));
  ++count_;
}

void GgufKeyList::begin_array(std::string_view key, GgufKind kind, size_t count) {
  begin(key, GgufKind::kArray);
  put(static_cast<uint32_t>(kind));
  put<uint64_t>(count);
}

void GgufKeyList::add_size(std::string_view key, int64_t value) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  HYPENET_CHECK(value >= 0 && value <= kMost, key, ": expected 0 to ", kMost, ", found ", value);
  begin(key, GgufKind::kUint32);
  put(static_cast<uint32_t>(value));
}

void GgufKeyList::add_number(std::string_view key, double value) {
  const auto single = static_cast<float>(value);
  const bool is_single = shortest_decimal(single) == value;
  begin(key, is_single ? GgufKind::kFloat32 : GgufKind::kFloat64);
  is_single ? put(single) : put(value);
}

void GgufKeyList::add_flag(std::string_view key, bool value) {
  begin(key, GgufKind::kBool);
  put<uint8_t>(value ? 1 : 0);
}

void GgufKeyList::add_text(std::string_view key, std::string_view value) {
  begin(key, GgufKind::kString);
  put_text(value);
}

void GgufKeyList::add_texts(std::string_view key, const std::vector<std::string>& values) {
  begin_array(key, GgufKind::kString, values.size());
  for (const std::string& value : values) put_text(value);
}

void GgufKeyList::add_integers(std::string_view key, const std::vector<int32_t>& values) {
  begin_array(key, GgufKind::kInt32, values.size());
  for (const int32_t value : values) put(value);
}

void GgufKeyList::add_flags(std::string_view key, const std::vector<bool>& values) {
  begin_array(key, GgufKind::kBool, values.size());
  for (const bool value : values) put<uint8_t>(value ? 1 : 0);
}

}  // namespace hypenet
