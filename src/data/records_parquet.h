// The Parquet part of data/records.h, in records_parquet.cpp or, without Arrow,
// records_no_parquet.cpp: CMake compiles one of the two (cmake/Parquet.cmake).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/json.h"

namespace hypenet {

/// Calls `use` with each row of a Parquet file and its number, which starts at one.
void for_each_parquet_record(const std::filesystem::path& file,
                             const std::function<bool(const Json& record, int64_t row)>& use);

}  // namespace hypenet
