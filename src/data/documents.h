// Reading documents out of files: plain text, JSON lines, both also gzip, and Parquet where it was
// built in.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/bad_documents.h"

namespace hypenet {

/// Calls `use` for each document of a file, in order. By name: .txt (one document a file), .jsonl
/// (one a line, its text in field `text_field`), .txt.gz, .jsonl.gz, .parquet (string column
/// `text_field`). A document that cannot be read goes to `bad` with its line (or row); a file that
/// is damaged, or something else than its name says, throws Error. Lines of white space alone are
/// skipped. Bytes of a .txt file are passed on as they are, but for a byte order mark; JSON must be
/// valid UTF-8. Returning false from `use` stops early.
void for_each_document(const std::filesystem::path& file, const std::string& text_field,
                       BadDocuments& bad, const std::function<bool(std::string_view text)>& use);

/// The same, where the first bad document is an Error.
void for_each_document(const std::filesystem::path& file, const std::string& text_field,
                       const std::function<bool(std::string_view text)>& use);

/// The files that `paths` name, folders walked in sorted order for the endings above. Links are
/// followed, and nothing is listed twice for one of `paths`. `tell` hears, once a folder, what in
/// it is left alone: "data: 3 files left alone: .md 2, hidden 1". Throws Error for a path that does
/// not exist, an ending that is not known, a folder without documents, one that cannot be read, and
/// a link with a known ending to a missing file.
std::vector<std::filesystem::path> document_files(
    const std::vector<std::filesystem::path>& paths,
    const std::function<void(const std::string& text)>& tell = {});

/// ".txt", ".jsonl.gz" ...; empty where the name has no ending of a document.
std::string_view document_ending(const std::filesystem::path& file);

/// Whether this build reads Parquet.
bool has_parquet();

}  // namespace hypenet
