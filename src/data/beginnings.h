// Places in a text where something begins: short prompts are drawn there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hypenet {

/// The documents of some files, in memory, and the beginnings of their paragraphs and sentences.
class Beginnings {
 public:
  /// Reads files or folders as for_each_document does. Bad documents are left out; `tell` hears
  /// which, and which files of a folder are. Throws Error as it does, and when there is no text.
  Beginnings(const std::vector<std::filesystem::path>& paths, const std::string& text_field,
             const std::function<void(const std::string& text)>& tell = {});

  /// How many there are; at least one.
  int64_t size() const { return static_cast<int64_t>(starts_.size()); }

  /// The text from beginning `index` on, about `bytes` of it: whole UTF-8 characters, no further
  /// than the document's end.
  std::string_view piece(int64_t index, size_t bytes) const;

 private:
  void add(std::string_view document);

  std::string text_;  // documents, a zero byte after each
  std::vector<size_t> starts_;
};

}  // namespace hypenet
