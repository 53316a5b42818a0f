// The build without Arrow: a Parquet file is an error that says what to do.
#include "base/error.h"
#include "data/documents_parquet.h"
#include "data/records_parquet.h"

namespace hypenet {

void for_each_parquet_record(const std::filesystem::path& file,
                             const std::function<bool(const Json& record, int64_t row)>&) {
  throw_without_parquet(file);
}

}  // namespace hypenet
