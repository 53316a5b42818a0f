// The Parquet half of data/documents.h, in documents_parquet.cpp or, without Arrow,
// documents_no_parquet.cpp: CMake compiles one of the two (cmake/Parquet.cmake).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "data/bad_documents.h"

namespace hypenet {

/// for_each_document for one Parquet file: each row's string in column `text_field`. Null is a bad
/// document; no such column, or one of another type, an Error that lists the columns.
void for_each_parquet_document(const std::filesystem::path& file, const std::string& text_field,
                               BadDocuments& bad,
                               const std::function<bool(std::string_view text)>& use);

/// Defined in a build without Arrow alone: the error that says what to install.
[[noreturn]] void throw_without_parquet(const std::filesystem::path& file);

}  // namespace hypenet
