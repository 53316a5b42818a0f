// What the readers of Parquet share: opening a file, and Arrow's results as values or errors.
#pragma once

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>

#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_kind.h"

namespace hypenet {

/// Rows of a record batch: what is in memory at one time.
inline constexpr int64_t kParquetRowsAtOnce = 1024;

/// The value of an Arrow result, or an Error of one line with the file's name.
template <class T>
T take(arrow::Result<T> result, const std::string& file) {
  if (result.ok()) return std::move(result).ValueUnsafe();
  const std::string reason = result.status().message();
  throw Error(concat(file, ": cannot read as Parquet: ", reason.substr(0, reason.find('\n'))));
}

/// Throws that Error for a status that is none of success.
inline void check(const arrow::Status& status, const std::string& file) {
  if (!status.ok()) take(arrow::Result<int>(status), file);
}

/// A reader of the file, batch by batch.
inline std::unique_ptr<parquet::arrow::FileReader> open_parquet(const std::string& file) {
  check_is_no_stream(file);
  return read_as("a Parquet file", "a Parquet file", file, [&] {
    const auto input = take(arrow::io::ReadableFile::Open(file), file);
    auto reader = take(parquet::arrow::OpenFile(input, arrow::default_memory_pool()), file);
    reader->set_batch_size(kParquetRowsAtOnce);
    return reader;
  });
}

/// The numbers of all its row groups.
inline std::vector<int> row_groups(const parquet::arrow::FileReader& reader) {
  std::vector<int> numbers(static_cast<size_t>(reader.num_row_groups()));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

}  // namespace hypenet
