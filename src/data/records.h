// Records of data set files: every field of a row, for evaluation tasks. Text to train on is read
// by documents.h.
#pragma once

#include <filesystem>
#include <functional>

#include "base/json.h"

namespace hypenet {

/// Calls `use` with each record of a file, in order, as a JSON object. By name: .jsonl and
/// .jsonl.gz (an object a line; lines of white space alone are skipped), .json (an array of
/// objects), .parquet (a row each; lists and structs become arrays and objects). Throws Error
/// naming file and line (or record, or row) and what was expected and found, and for Parquet in a
/// build without it; an Error or Json::exception that `use` throws becomes an Error with file and
/// line before it. Returning false from `use` stops early.
void for_each_record(const std::filesystem::path& file,
                     const std::function<bool(const Json& record)>& use);

/// Calls `use` with what a JSON file holds; errors as above, with the file before them.
void use_json(const std::filesystem::path& file, const std::function<void(const Json& json)>& use);

}  // namespace hypenet
