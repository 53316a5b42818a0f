// A file is read whole, or refused.
#include "serve/session_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temporary_folder.h"

namespace hypenet {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class SessionFileTest : public testing::Test {
 protected:
  /// Two parts, of which one is in pieces and one ends at a page's end.
  size_t write() {
    const std::vector<SessionPart> parts = {{"tokens", {bytes_of(first_), bytes_of(second_)}},
                                            {"page", {bytes_of(page_)}},
                                            {"none", {}}};
    return write_session(path_, {{"model", "m"}, {"tokens", 3}}, parts);
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "a.session";
  std::string first_ = "first piece ", second_ = "second piece", page_ = std::string(4096, 'p');
};

TEST_F(SessionFileTest, reads_what_was_written) {
  const size_t bytes = write();
  EXPECT_EQ(bytes, std::filesystem::file_size(path_));
  const SessionFile file(path_);
  EXPECT_EQ(file.head().at("model"), "m");
  EXPECT_EQ(text_of(file.part("tokens")), "first piece second piece");
  EXPECT_EQ(text_of(file.part("page")), page_);
  EXPECT_TRUE(file.part("none").empty());
  EXPECT_EQ(SessionFile::read_head(path_).at("tokens"), 3);
  EXPECT_THROW(file.part("other"), Error);
}

TEST_F(SessionFileTest, parts_begin_at_pages_of_memory) {
  write();
  const SessionFile file(path_);
  const auto* const begin = file.part("tokens").data();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 4096, 0U);
  EXPECT_EQ(file.part("page").data() - begin, 4096);
}

TEST_F(SessionFileTest, refuses_every_changed_byte_that_counts) {
  write();
  const std::string whole = read_file(path_);
  const auto opens = [&](const std::string& text) {
    write_file(path_, text);
    try {
      const SessionFile file(path_);
      return true;
    } catch (const Error&) {
      return false;
    }
  };
  ASSERT_TRUE(opens(whole));
  const size_t body = whole.find(first_);
  for (size_t i = 0; i < whole.size(); ++i) {
    const bool is_padding = whole[i] == '\0' && i > 64 && i + 16 < whole.size();
    const bool is_dull = whole[i] == 'p' && i % 512 != 0;
    if (is_padding || is_dull) continue;
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    EXPECT_FALSE(opens(changed)) << "byte " << i;
  }
  for (const size_t size : {size_t{0}, size_t{7}, size_t{20}, body, whole.size() - 1}) {
    EXPECT_FALSE(opens(whole.substr(0, size))) << size << " bytes";
  }
  EXPECT_FALSE(opens(whole + "x"));
}

TEST_F(SessionFileTest, refuses_a_link) {
  write();
  const auto link = folder_.path() / "link.session";
  std::filesystem::create_symlink(path_, link);
  EXPECT_THROW(SessionFile{link}, Error);
}

}  // namespace
}  // namespace hypenet
