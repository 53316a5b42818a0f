// Kept prompts in files: what a server wrote is known to the next, in any state that a disk may be
// found in.
#include "serve/prefix_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "base/random.h"
#include "tests/serve/running_service.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
constexpr const char* kChat = "/v1/chat/completions";

StoredPiece piece(char digit) {
  return {.id = std::string(64, digit),
          .parent = std::string(64, 'b'),
          .salt = salt_key("salt"),
          .tokens = {1, 2, 3, 70'000},
          .is_exact = false,
          .is_marked = true,
          .has_states = true,
          .pages = 2,
          .uses = 7,
          .age = 1.5};
}

class PrefixFilesTest : public testing::Test {
 protected:
  PrefixFilesTest() { torch::manual_seed(1); }

  PrefixFiles open(const std::string& model = "m") {
    SessionFacts facts;
    facts.model = model;
    return {folder_ / "kept", facts, [this](const std::string& line) { lines_.push_back(line); }};
  }

  Tensor random_bytes(int64_t count) {
    return torch::randint(0, 255, {count}, torch::kInt64).to(torch::kUInt8);
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "kept")) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  TemporaryFolder folder_;
  std::vector<std::string> lines_;
  std::vector<Tensor> pages_ = {random_bytes(5000), random_bytes(5000)};
  Tensor states_ = random_bytes(100);
};

TEST_F(PrefixFilesTest, reads_what_was_written) {
  int64_t bytes = 0;
  {
    PrefixFiles files = open();
    bytes = files.write(piece('a'), pages_, states_);
    EXPECT_EQ(bytes, fs::file_size(folder_ / "kept" / (std::string(64, 'a') + ".prefix")));
    StoredPiece bare = piece('c');
    bare.has_states = false, bare.pages = 0;
    files.write(bare, {}, {});
  }
  PrefixFiles files = open();
  auto found = files.list();
  ASSERT_EQ(found.size(), 2U);
  std::ranges::sort(found, {}, &StoredPiece::id);
  const StoredPiece expected = piece('a');
  EXPECT_EQ(found[0].id, expected.id);
  EXPECT_EQ(found[0].parent, expected.parent);
  EXPECT_EQ(found[0].salt, expected.salt);
  EXPECT_EQ(found[0].tokens, expected.tokens);
  EXPECT_FALSE(found[0].is_exact);
  EXPECT_TRUE(found[0].is_marked);
  EXPECT_TRUE(found[0].has_states);
  EXPECT_EQ(found[0].pages, 2);
  EXPECT_EQ(found[0].uses, 7);
  EXPECT_EQ(found[0].age, 1.5);
  EXPECT_EQ(found[0].bytes, bytes);
  EXPECT_FALSE(found[1].has_states);
  const std::vector<Tensor> pages = {torch::empty_like(pages_[0]), torch::empty_like(pages_[1])};
  const Tensor states = torch::empty_like(states_);
  files.read(expected.id, pages, states);
  for (size_t i = 0; i < pages.size(); ++i) EXPECT_TRUE(torch::equal(pages[i], pages_[i]));
  EXPECT_TRUE(torch::equal(states, states_));
  files.remove(expected.id);
  EXPECT_THROW(files.read(expected.id, pages, {}), Error);
  EXPECT_EQ(files.list().size(), 1U);
}

TEST_F(PrefixFilesTest, a_salt_is_nowhere_in_a_file) {
  StoredPiece secret = piece('a');
  secret.salt = salt_key("my-secret-salt");
  open().write(secret, pages_, states_);
  const std::string text = read_file(folder_ / "kept" / (secret.id + ".prefix"));
  EXPECT_EQ(text.find("my-secret-salt"), text.npos);
}

TEST_F(PrefixFilesTest, files_of_others_stay_and_count_as_nothing) {
  open("another").write(piece('a'), pages_, states_);
  write_file(folder_ / "kept" / "notes.txt", "mine");
  write_file(folder_ / "kept" / (std::string(64, 'e') + ".prefix"), "no such file");
  write_file(folder_ / "kept" / "short.prefix", "mine, too");
  fs::create_symlink(folder_ / "kept" / "notes.txt",
                     folder_ / "kept" / (std::string(64, 'f') + ".prefix"));
  PrefixFiles files = open();
  EXPECT_TRUE(files.list().empty());
  EXPECT_EQ(files.others(), 2U);
  EXPECT_EQ(names().size(), 5U);
}

TEST_F(PrefixFilesTest, what_was_left_half_written_goes_at_the_start) {
  fs::create_directories(folder_ / "kept");
  const std::string partial = std::string(64, 'a') + ".prefix" + std::string(kPartialEnding);
  write_file(folder_ / "kept" / partial, "half");
  write_file(folder_ / "kept" / "other.hypenet-partial", "not of this kind");
  open();
  EXPECT_THAT(names(), testing::ElementsAre("other.hypenet-partial"));
}

TEST_F(PrefixFilesTest, two_servers_do_not_share_a_folder) {
  const PrefixFiles first = open();
  EXPECT_THROW(open(), Error);
}

TEST_F(PrefixFilesTest, any_changed_byte_is_refused_or_does_not_count) {
  StoredPiece expected = piece('a');
  {
    PrefixFiles files = open();
    files.write(expected, pages_, states_);
  }
  const fs::path path = folder_ / "kept" / (expected.id + ".prefix");
  const std::string whole = read_file(path);
  PrefixFiles files = open();
  Random random(1);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string changed = whole;
    const auto at =
        static_cast<size_t>(i < 100 ? i : static_cast<int>(random.below(std::ssize(whole))));
    changed[at] = static_cast<char>(changed[at] ^ (1 << random.below(8)));
    std::ofstream(path, std::ios::binary | std::ios::trunc) << changed;  // flushed by nobody
    const auto found = files.list();
    const std::vector<Tensor> pages = {torch::empty_like(pages_[0]), torch::empty_like(pages_[1])};
    const Tensor states = torch::empty_like(states_);
    try {
      if (found.empty()) throw Error("not listed");
      EXPECT_EQ(found[0].tokens, expected.tokens);
      files.read(expected.id, pages, states);
      EXPECT_TRUE(torch::equal(pages[0], pages_[0]) && torch::equal(pages[1], pages_[1]));
      EXPECT_TRUE(torch::equal(states, states_));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{20}, whole.size() / 2, whole.size() - 1}) {
    write_file(path, whole.substr(0, size));
    EXPECT_TRUE(files.list().empty()) << size;
    EXPECT_THROW(files.read(expected.id, {}, {}), Error);
  }
}

TEST_F(PrefixFilesTest, a_folder_that_went_is_told_without_its_path) {
  PrefixFiles files = open();
  fs::remove_all(folder_ / "kept");
  try {
    files.write(piece('a'), pages_, states_);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("kept prompts: cannot write a file: "));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr(folder_.path().string())));
  }
}

/// Over HTTP.
class KeptOnDiskTest : public testing::Test {
 protected:
  RunningService::Setting setting() const {
    RunningService::Setting setting;
    setting.cache_folder = folder_.path();
    return setting;
  }
  static Json chat(char letter) { return chat_body(std::string(500, letter), 8); }
  static std::string text_of(const Json& answer) {
    return answer["choices"][0]["message"]["content"];
  }
  static int64_t cached(const Json& answer) {
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"];
  }
  int64_t files() const {
    int64_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      count += entry.path().extension() == ".prefix" ? 1 : 0;
    }
    return count;
  }

  TemporaryFolder folder_;
};

TEST_F(KeptOnDiskTest, prompts_outlive_the_server) {
  std::string expected;
  {
    const RunningService running(setting());
    expected = text_of(post(running.port(), kChat, chat('a')).json());
  }
  EXPECT_GT(files(), 0);
  const RunningService running(setting());
  const Json answer = post(running.port(), kChat, chat('a')).json();
  EXPECT_EQ(text_of(answer), expected);
  EXPECT_GT(cached(answer), 384);
  EXPECT_EQ(answer["timings"]["reuse_tier"], "disk");
  const Json again = post(running.port(), kChat, chat('a')).json();
  EXPECT_EQ(again["timings"]["reuse_tier"], "gpu");
  const Json status = ask(running.port(), "GET", "/v1/status").json();
  EXPECT_GT(status["memory"]["disk"]["kv_bytes"], 0);
  EXPECT_GT(status["memory"]["disk"]["snapshot_bytes"], 0);
  EXPECT_EQ(status["memory"]["disk"]["budget_bytes"], setting().cache_disk);
  const std::string metrics = ask(running.port(), "GET", "/metrics").body;
  for (const char* name : {"hypenet_cache_bytes", "hypenet_cache_snapshots",
                           "hypenet_prefix_cache_hit_tokens_total"}) {
    const size_t at = metrics.find(std::string(name) + "{");
    ASSERT_NE(at, metrics.npos) << name;
    EXPECT_NE(metrics.find("tier=\"disk\"", at), metrics.npos) << name;
  }
  EXPECT_EQ(running.metric("hypenet_prompt_tokens_total"),
            running.metric("hypenet_prompt_tokens_computed_total") +
                running.metric("hypenet_prefix_cache_hits_total"));
}

TEST_F(KeptOnDiskTest, several_engines_are_asked_for_what_they_have) {
  auto several = setting();
  several.engines = 3;
  {
    const RunningService running(several);
    for (const char letter : {'a', 'b', 'c', 'd'}) post(running.port(), kChat, chat(letter));
  }
  const RunningService running(several);
  for (const char letter : {'a', 'b', 'c', 'd'}) {
    EXPECT_GT(cached(post(running.port(), kChat, chat(letter)).json()), 384) << letter;
  }
}

TEST_F(KeptOnDiskTest, damaged_files_are_told_and_read_anew) {
  std::string expected;
  {
    const RunningService running(setting());
    expected = text_of(post(running.port(), kChat, chat('a')).json());
  }
  for (const auto& entry : fs::directory_iterator(folder_ / "0")) {
    std::string bytes = read_file(entry.path());
    bytes[bytes.size() - 200] ^= 1;  // in its last part
    bytes[2 * 4096 + 50] ^= 1;
    write_file(entry.path(), bytes);
  }
  const RunningService running(setting());
  const Json answer = post(running.port(), kChat, chat('a')).json();
  EXPECT_EQ(text_of(answer), expected);
  EXPECT_EQ(post(running.port(), kChat, chat('b')).status, 200);
}

TEST_F(KeptOnDiskTest, the_folder_is_kept_to_its_bytes) {
  auto small = setting();
  small.cache_disk = 400'000;
  int64_t bytes = 0;
  for (int round = 0; round < 2; ++round) {
    {
      const RunningService running(small);
      for (char letter = 'a'; letter < 'm'; ++letter) post(running.port(), kChat, chat(letter));
    }
    bytes = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / "0")) bytes += entry.file_size();
    EXPECT_GT(bytes, 100'000);
    EXPECT_LE(bytes, small.cache_disk);
  }
}

TEST_F(KeptOnDiskTest, a_disk_that_fails_is_a_line_and_no_more) {
  const RunningService running(setting());
  fs::remove_all(folder_ / "0");
  const Json first = post(running.port(), kChat, chat('a')).json();
  EXPECT_EQ(text_of(post(running.port(), kChat, chat('a')).json()), text_of(first));
}

}  // namespace
}  // namespace hypenet
