// A paragraph begins after a line feed, a sentence where a capital follows an end mark and a space.
#include "data/beginnings.h"

#include <algorithm>

#include "base/error.h"
#include "data/documents.h"

namespace hypenet {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool is_inside_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

bool ends_sentence(char c) { return c == '.' || c == '!' || c == '?'; }

/// Capitals; a letter beyond ASCII may be one.
bool may_begin_sentence(char c) {
  return (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0xC0U;
}

bool is_beginning(std::string_view text, size_t at) {
  if (text[at] == '\0' || is_space(text[at]) || is_inside_character(text[at])) return false;
  if (at == 0 || text[at - 1] == '\n') return true;
  return at >= 2 && text[at - 1] == ' ' && ends_sentence(text[at - 2]) &&
         may_begin_sentence(text[at]);
}

}  // namespace

Beginnings::Beginnings(const std::vector<std::filesystem::path>& paths,
                       const std::string& text_field,
                       const std::function<void(const std::string&)>& tell) {
  BadDocuments bad;
  for (const auto& file : document_files(paths, tell)) {
    for_each_document(file, text_field, bad, [&](std::string_view document) {
      add(document);
      return true;
    });
  }
  bad.check_some_are_good();
  if (tell && bad.bad() > 0) tell(bad.summary());
  HYPENET_CHECK(!starts_.empty(), paths.empty() ? "text" : paths.front().string(),
                ": expected text, found none");
}

void Beginnings::add(std::string_view document) {
  for (size_t at = 0; at < document.size(); ++at) {
    if (is_beginning(document, at)) starts_.push_back(text_.size() + at);
  }
  text_.append(document);
  text_.push_back('\0');
}

std::string_view Beginnings::piece(int64_t index, size_t bytes) const {
  const size_t start = starts_[static_cast<size_t>(index)];
  const size_t document_end = text_.find('\0', start);
  size_t end = std::min(document_end, start + bytes);
  while (end < document_end && is_inside_character(text_[end])) ++end;
  return std::string_view(text_).substr(start, end - start);
}

}  // namespace hypenet
