// Parquet through Arrow C++, one record batch of one column in memory at a time.
#include "data/documents_parquet.h"

#include <parquet/file_reader.h>
#include <parquet/metadata.h>

#include "data/documents.h"
#include "data/parquet_file.h"

namespace hypenet {
namespace {

using Use = std::function<bool(std::string_view)>;

/// Batches of the one column, over all row groups.
std::unique_ptr<arrow::RecordBatchReader> open_column(parquet::arrow::FileReader& reader,
                                                      const std::string& column,
                                                      const std::string& file) {
  const int index = reader.parquet_reader()->metadata()->schema()->ColumnIndex(column);
  HYPENET_CHECK(index >= 0, file, ": expected a column ", column, ", found none of that name");
  return take(reader.GetRecordBatchReader(row_groups(reader), {index}), file);
}

template <class Array>
bool use_rows(const Array& rows, int64_t first_row, const std::string& place, const Use& use) {
  for (int64_t i = 0; i < rows.length(); ++i) {
    HYPENET_CHECK(rows.IsValid(i), place, ", row ", first_row + i,
                  ": expected a string, found null");
    if (!use(rows.GetView(i))) return false;
  }
  return true;
}

bool use_column(const arrow::Array& column, int64_t first_row, const std::string& place,
                const Use& use) {
  if (arrow::is_binary_like(column.type_id())) {
    return use_rows(static_cast<const arrow::BinaryArray&>(column), first_row, place, use);
  }
  HYPENET_CHECK(arrow::is_large_binary_like(column.type_id()), place, ": expected strings, found ",
                column.type()->ToString());
  return use_rows(static_cast<const arrow::LargeBinaryArray&>(column), first_row, place, use);
}

}  // namespace

bool has_parquet() { return true; }

void for_each_parquet_document(const std::filesystem::path& file, const std::string& text_field,
                               const Use& use) {
  const std::string name = file.string();
  const auto reader = open_parquet(name);
  const auto batches = open_column(*reader, text_field, name);
  int64_t row = 1;
  while (const auto batch = take(batches->Next(), name)) {
    if (!use_column(*batch->column(0), row, concat(name, ": ", text_field), use)) return;
    row += batch->num_rows();
  }
}

}  // namespace hypenet
