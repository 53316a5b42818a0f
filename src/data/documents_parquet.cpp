// Parquet through Arrow C++, one record batch of one column in memory at a time.
#include "data/documents_parquet.h"

#include <parquet/arrow/schema.h>

#include "data/documents.h"
#include "data/parquet_file.h"
#include "data/parquet_text.h"

namespace hypenet {
namespace {

using Use = std::function<bool(std::string_view)>;

/// "title string, meta struct<id: int64>": what a user can choose from.
std::string list_columns(const arrow::Schema& schema) {
  constexpr size_t kMostColumns = 12, kMostBytes = 60;
  std::string text;
  size_t count = 0;
  for (const auto& field : schema.fields()) {
    if (++count > kMostColumns) return text + " ...";
    std::string type = field->type()->ToString();
    if (type.size() > kMostBytes) type = type.substr(0, kMostBytes) + "...";
    text += concat(count > 1 ? ", " : "", field->name(), " ", type);
  }
  return text.empty() ? "none" : text;
}

/// The number of the one column of that name that holds strings.
int find_column(const arrow::Schema& schema, const std::string& column, const std::string& file) {
  const std::vector<int> found = schema.GetAllFieldIndices(column);
  HYPENET_CHECK(!found.empty(), file, ": expected a column ", column,
                ", found none of that name; the columns are: ", list_columns(schema));
  HYPENET_CHECK(found.size() == 1, file, ": expected one column ", column, ", found ",
                found.size());
  const arrow::DataType& type = *schema.field(found[0])->type();
  HYPENET_CHECK(is_string_like(type), file, ": ", column, ": expected strings, found ",
                type.ToString(), "; the columns are: ", list_columns(schema));
  return found[0];
}

/// Batches of the one column, over all row groups.
std::unique_ptr<arrow::RecordBatchReader> open_column(parquet::arrow::FileReader& reader,
                                                      const std::string& column,
                                                      const std::string& file) {
  std::shared_ptr<arrow::Schema> schema;
  check(reader.GetSchema(&schema), file);
  const int number = find_column(*schema, column, file);
  const int leaf = reader.manifest().schema_fields[static_cast<size_t>(number)].column_index;
  return take(reader.GetRecordBatchReader(row_groups(reader), {leaf}), file);
}

}  // namespace

bool has_parquet() { return true; }

void for_each_parquet_document(const std::filesystem::path& file, const std::string& text_field,
                               BadDocuments& bad, const Use& use) {
  const std::string name = file.string();
  const auto reader = open_parquet(name);
  const auto batches = open_column(*reader, text_field, name);
  int64_t row = 1;
  while (const auto batch = take(batches->Next(), name)) {
    const arrow::Array& column = *batch->column(0);
    for (int64_t i = 0; i < column.length(); ++i, ++row) {
      const std::optional<std::string_view> text = text_at(column, i);
      if (!text) {
        bad.add_bad("null instead of a string", concat(name, ": ", text_field, ", row ", row,
                                                       ": expected a string, found null"));
        continue;
      }
      bad.add_good();
      if (!use(*text)) return;
    }
  }
}

}  // namespace hypenet
