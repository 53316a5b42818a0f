// Reading documents out of files: plain text, JSON lines, both also gzip, and Parquet where it was
// built in.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// Calls `use` for each document of a file, in order. By name: .txt (one document a file), .jsonl
/// (one a line, its text in field `text_field`), .txt.gz, .jsonl.gz, .parquet (string column
/// `text_field`). Throws Error naming file and line (or row) and what was expected and found; lines
/// of white space alone are skipped. Bytes of a .txt file are passed on as they are, JSON must be
/// valid UTF-8. Returning false from `use` stops early.
void for_each_document(const std::filesystem::path& file, const std::string& text_field,
                       const std::function<bool(std::string_view text)>& use);

/// The files that `paths` name, folders walked in sorted order for the endings above. Throws Error
/// for a path that does not exist or an ending that is not known.
std::vector<std::filesystem::path> document_files(const std::vector<std::filesystem::path>& paths);

/// Whether this build reads Parquet.
bool has_parquet();

}  // namespace hypenet
