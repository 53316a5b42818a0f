// The build without Arrow: a Parquet file is an error that says what to do.
#include "base/error.h"
#include "data/documents.h"
#include "data/documents_parquet.h"

namespace hypenet {

bool has_parquet() { return false; }

void throw_without_parquet(const std::filesystem::path& file) {
  throw Error(
      concat(file.string(),
             ": expected a build that reads Parquet, found one without (install pyarrow in ",
             ".venv and configure with HYPENET_PARQUET=ON)"));
}

void for_each_parquet_document(const std::filesystem::path& file, const std::string&, BadDocuments&,
                               const std::function<bool(std::string_view)>&) {
  throw_without_parquet(file);
}

}  // namespace hypenet
