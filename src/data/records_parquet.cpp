// Rows of a Parquet file as JSON objects, one record batch in memory at a time.
#include "data/records_parquet.h"

#include <optional>
#include <string>
#include <string_view>

#include "data/parquet_file.h"
#include "data/parquet_text.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

Json value_at(const arrow::Array& array, int64_t i, const std::string& place);

template <class Array>
Json number_at(const arrow::Array& array, int64_t i) {
  return static_cast<const Array&>(array).Value(i);
}

Json string_at(const arrow::Array& array, int64_t i, const std::string& place) {
  const std::optional<std::string_view> text = text_at(array, i);
  if (!text) return nullptr;
  HYPENET_CHECK(is_utf8(*text), place, ": expected text in UTF-8, found other bytes");
  return std::string(*text);
}

template <class Array>
Json list_at(const arrow::Array& array, int64_t i, const std::string& place) {
  const auto& lists = static_cast<const Array&>(array);
  Json values = Json::array();
  for (int64_t at = lists.value_offset(i); at < lists.value_offset(i + 1); ++at) {
    values.push_back(value_at(*lists.values(), at, place));
  }
  return values;
}

Json struct_at(const arrow::Array& array, int64_t i, const std::string& place) {
  const auto& structs = static_cast<const arrow::StructArray&>(array);
  Json fields = Json::object();
  for (int number = 0; number < structs.num_fields(); ++number) {
    const std::string& name = structs.struct_type()->field(number)->name();
    fields[name] = value_at(*structs.field(number), i, concat(place, ".", name));
  }
  return fields;
}

Json value_at(const arrow::Array& array, int64_t i, const std::string& place) {
  if (array.IsNull(i)) return nullptr;
  if (is_string_like(*array.type())) return string_at(array, i, place);
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      return number_at<arrow::BooleanArray>(array, i);
    case arrow::Type::INT8:
      return number_at<arrow::Int8Array>(array, i);
    case arrow::Type::INT16:
      return number_at<arrow::Int16Array>(array, i);
    case arrow::Type::INT32:
      return number_at<arrow::Int32Array>(array, i);
    case arrow::Type::INT64:
      return number_at<arrow::Int64Array>(array, i);
    case arrow::Type::UINT8:
      return number_at<arrow::UInt8Array>(array, i);
    case arrow::Type::UINT16:
      return number_at<arrow::UInt16Array>(array, i);
    case arrow::Type::UINT32:
      return number_at<arrow::UInt32Array>(array, i);
    case arrow::Type::UINT64:
      return number_at<arrow::UInt64Array>(array, i);
    case arrow::Type::FLOAT:
      return number_at<arrow::FloatArray>(array, i);
    case arrow::Type::DOUBLE:
      return number_at<arrow::DoubleArray>(array, i);
    case arrow::Type::LIST:
      return list_at<arrow::ListArray>(array, i, place);
    case arrow::Type::LARGE_LIST:
      return list_at<arrow::LargeListArray>(array, i, place);
    case arrow::Type::FIXED_SIZE_LIST:
      return list_at<arrow::FixedSizeListArray>(array, i, place);
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
      return value_at(*dictionary.dictionary(), dictionary.GetValueIndex(i), place);
    }
    case arrow::Type::STRUCT:
      return struct_at(array, i, place);
    default:
      throw Error(concat(place, ": expected numbers, strings, lists and structs, found ",
                         array.type()->ToString()));
  }
}

Json row_at(const arrow::RecordBatch& batch, int64_t i, const std::string& place) {
  Json record = Json::object();
  for (int column = 0; column < batch.num_columns(); ++column) {
    const std::string& name = batch.column_name(column);
    record[name] = value_at(*batch.column(column), i, concat(place, ": ", name));
  }
  return record;
}

}  // namespace

void for_each_parquet_record(const std::filesystem::path& file,
                             const std::function<bool(const Json& record, int64_t row)>& use) {
  const std::string name = file.string();
  const auto reader = open_parquet(name);
  const auto batches = take(reader->GetRecordBatchReader(row_groups(*reader)), name);
  int64_t row = 1;
  while (const auto batch = take(batches->Next(), name)) {
    for (int64_t i = 0; i < batch->num_rows(); ++i, ++row) {
      if (!use(row_at(*batch, i, concat(name, ", row ", row)), row)) return;
    }
  }
}

}  // namespace hypenet
