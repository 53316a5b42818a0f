// Values of keys, read when they are asked for: of most files only a few are.
#include "gguf/gguf_keys.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"

namespace hypenet {
namespace {

constexpr std::array<std::string_view, 13> kNames = {
    "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
    "bool",  "string", "array",  "uint64", "int64",  "float64"};

template <class Number>
Number load(const std::byte* bytes) {
  Number number;
  std::memcpy(&number, bytes, sizeof number);
  return number;
}

/// Nothing for kinds that are no integers, and for what int64_t cannot hold.
std::optional<int64_t> load_integer(GgufKind kind, const std::byte* bytes) {
  switch (kind) {
    case GgufKind::kUint8:
      return load<uint8_t>(bytes);
    case GgufKind::kInt8:
      return load<int8_t>(bytes);
    case GgufKind::kUint16:
      return load<uint16_t>(bytes);
    case GgufKind::kInt16:
      return load<int16_t>(bytes);
    case GgufKind::kUint32:
      return load<uint32_t>(bytes);
    case GgufKind::kInt32:
      return load<int32_t>(bytes);
    case GgufKind::kInt64:
      return load<int64_t>(bytes);
    case GgufKind::kUint64: {
      const auto number = load<uint64_t>(bytes);
      const bool fits = number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
      return fits ? std::optional(static_cast<int64_t>(number)) : std::nullopt;
    }
    case GgufKind::kFloat32:
    case GgufKind::kBool:
    case GgufKind::kString:
    case GgufKind::kArray:
    case GgufKind::kFloat64:
      return std::nullopt;
  }
  return std::nullopt;
}

/// The text at the start of the bytes, which are moved behind it.
std::string_view take_text(std::span<const std::byte>& bytes) {
  const auto size = load<uint64_t>(bytes.data());
  const std::span<const std::byte> text = bytes.subspan(sizeof size, size);
  bytes = bytes.subspan(sizeof size + size);
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

}  // namespace

double shortest_decimal(float value) {
  std::array<char, 32> text{};
  const auto [end, failed] = std::to_chars(text.data(), text.data() + text.size(), value);
  double number = value;
  if (failed == std::errc()) std::from_chars(text.data(), end, number);
  return number;
}

size_t size_of(GgufKind kind) {
  switch (kind) {
    case GgufKind::kUint8:
    case GgufKind::kInt8:
    case GgufKind::kBool:
      return 1;
    case GgufKind::kUint16:
    case GgufKind::kInt16:
      return 2;
    case GgufKind::kUint32:
    case GgufKind::kInt32:
    case GgufKind::kFloat32:
      return 4;
    case GgufKind::kUint64:
    case GgufKind::kInt64:
    case GgufKind::kFloat64:
      return 8;
    case GgufKind::kString:
    case GgufKind::kArray:
      return 0;
  }
  return 0;
}

std::string excerpt(std::string_view text) {
  size_t size = 64;
  if (text.size() <= size) return std::string(text);
  const auto is_inside = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; };
  while (size > 0 && is_inside(text[size])) --size;
  return concat(text.substr(0, size), "...");
}

std::string describe(const GgufValue& value) {
  const std::string_view name = kNames[static_cast<size_t>(value.kind)];
  if (value.is_array) return concat("an array of ", value.count, ' ', name);
  return concat(name.starts_with('i') || name.starts_with('a') ? "an " : "a ", name);
}

void GgufKeys::add(const std::string& key, const GgufValue& value) {
  HYPENET_CHECK(values_.emplace(key, value).second, place(key),
                ": expected the key once, found it twice");
}

std::string GgufKeys::place(std::string_view key) const { return concat(file_, ": ", key); }

const GgufValue& GgufKeys::find(std::string_view key) const {
  const auto found = values_.find(key);
  HYPENET_CHECK(found != values_.end(), place(key), ": expected the key, found none");
  return found->second;
}

void GgufKeys::refuse(std::string_view key, std::string_view expected) const {
  throw Error(concat(place(key), ": expected ", expected, ", found ", describe(find(key))));
}

int64_t GgufKeys::integer(std::string_view key) const {
  const GgufValue& value = find(key);
  if (value.is_array) {
    const std::vector<int64_t> all = integers(key);
    HYPENET_CHECK(!all.empty(), place(key), ": expected an integer, found an empty array");
    const auto other = std::ranges::find_if(all, [&](int64_t one) { return one != all.front(); });
    HYPENET_CHECK(other == all.end(), place(key), ": expected one number for all layers, found ",
                  all.front(), " and ", *other);
    return all.front();
  }
  const auto number = load_integer(value.kind, value.bytes.data());
  if (!number) refuse(key, "an integer");
  return *number;
}

int64_t GgufKeys::integer(std::string_view key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double GgufKeys::number(std::string_view key) const {
  const GgufValue& value = find(key);
  const bool is_float = value.kind == GgufKind::kFloat32;
  if (value.is_array || (!is_float && value.kind != GgufKind::kFloat64)) refuse(key, "a number");
  const double number = is_float ? shortest_decimal(load<float>(value.bytes.data()))
                                 : load<double>(value.bytes.data());
  HYPENET_CHECK(std::isfinite(number), place(key), ": expected a finite number, found ", number);
  return number;
}

double GgufKeys::number(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool GgufKeys::flag(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  const GgufValue& value = find(key);
  if (value.is_array || value.kind != GgufKind::kBool) refuse(key, "a bool");
  return load<uint8_t>(value.bytes.data()) != 0;
}

std::string_view GgufKeys::text(std::string_view key) const {
  const GgufValue& value = find(key);
  if (value.is_array || value.kind != GgufKind::kString) refuse(key, "a string");
  std::span<const std::byte> bytes = value.bytes;
  const std::string_view text = take_text(bytes);
  HYPENET_CHECK(is_utf8(text), place(key), ": expected UTF-8, found other bytes");
  return text;
}

std::string_view GgufKeys::text(std::string_view key, std::string_view fallback) const {
  return has(key) ? text(key) : fallback;
}

std::vector<std::string_view> GgufKeys::texts(std::string_view key) const {
  const GgufValue& value = find(key);
  if (!value.is_array || value.kind != GgufKind::kString) refuse(key, "an array of strings");
  std::vector<std::string_view> texts;
  texts.reserve(value.count);
  std::span<const std::byte> bytes = value.bytes;
  for (uint64_t i = 0; i < value.count; ++i) {
    texts.push_back(take_text(bytes));
    HYPENET_CHECK(is_utf8(texts.back()), place(key), "[", i,
                  "]: expected UTF-8, found other bytes");
  }
  return texts;
}

std::vector<int64_t> GgufKeys::integers(std::string_view key) const {
  const GgufValue& value = find(key);
  if (!value.is_array) refuse(key, "an array of integers");
  std::vector<int64_t> integers;
  for (uint64_t i = 0; i < value.count; ++i) {
    const auto number = load_integer(value.kind, value.bytes.data() + i * size_of(value.kind));
    if (!number) refuse(key, "an array of integers");
    integers.push_back(*number);
  }
  return integers;
}

std::vector<bool> GgufKeys::flags(std::string_view key) const {
  const GgufValue& value = find(key);
  if (!value.is_array || value.kind != GgufKind::kBool) refuse(key, "an array of bools");
  std::vector<bool> flags;
  for (const std::byte byte : value.bytes) flags.push_back(byte != std::byte{0});
  return flags;
}

}  // namespace hypenet
