// Strings out of every type of Arrow that holds them.
#pragma once

#include <arrow/api.h>

#include <optional>
#include <string_view>

namespace hypenet {

/// Whether a column of this type is one of strings (or of bytes): 32 and 64-bit offsets, views,
/// dictionaries of them (pandas' category), and extensions stored so (arrow.json).
inline bool is_string_like(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return true;
    case arrow::Type::DICTIONARY:
      return is_string_like(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::EXTENSION:
      return is_string_like(*static_cast<const arrow::ExtensionType&>(type).storage_type());
    default:
      return false;
  }
}

/// Row i of a column that is_string_like; nothing where it is null. Valid as long as the column.
inline std::optional<std::string_view> text_at(const arrow::Array& column, int64_t i) {
  if (column.IsNull(i)) return std::nullopt;
  switch (column.type_id()) {
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return static_cast<const arrow::LargeBinaryArray&>(column).GetView(i);
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return static_cast<const arrow::BinaryViewArray&>(column).GetView(i);
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(column);
      return text_at(*dictionary.dictionary(), dictionary.GetValueIndex(i));
    }
    case arrow::Type::EXTENSION:
      return text_at(*static_cast<const arrow::ExtensionArray&>(column).storage(), i);
    default:
      return static_cast<const arrow::BinaryArray&>(column).GetView(i);
  }
}

}  // namespace hypenet
