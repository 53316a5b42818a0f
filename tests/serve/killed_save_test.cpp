// SIGKILL and a full file at moments all over a save: afterwards a folder has the old or the new,
// whole, and the next server takes it up and answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <thread>

#include "serve/prefix_files.h"
#include "serve/session_file.h"
#include "serve/sessions.h"
#include "tests/serve/running_service.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kMoments = 20;

/// When a process dies: when a file of its has so many bytes, or after so long.
struct Moment {
  int64_t bytes = -1;
  std::chrono::microseconds after{0};
};

/// Runs `work` again and again in a process that ends at the moment.
void run_until(const Moment& moment, const std::function<void()>& work) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    if (moment.bytes >= 0) {
      // The system ends whoever writes beyond it, in the middle of a write.
      ::signal(SIGXFSZ, SIG_DFL);
      const rlimit most{static_cast<rlim_t>(moment.bytes), static_cast<rlim_t>(moment.bytes)};
      ::setrlimit(RLIMIT_FSIZE, &most);
    }
    try {
      while (true) work();
    } catch (...) {
      ::_exit(1);
    }
  }
  if (moment.bytes < 0) {
    std::this_thread::sleep_for(moment.after);
    ::kill(child, SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
}

/// Half of them by the bytes of a file of this size, half by the time that it takes.
std::vector<Moment> moments(int64_t bytes, std::chrono::microseconds time) {
  std::vector<Moment> moments;
  for (int i = 0; i < kMoments / 2; ++i) {
    moments.push_back({.bytes = bytes * i / (kMoments / 2)});
    moments.push_back({.after = time * (i + 1) / (kMoments / 2)});
  }
  return moments;
}

std::chrono::microseconds time_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
}

bool has_partial(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().filename().string().ends_with(kPartialEnding)) return true;
  }
  return false;
}

class KilledSaveTest : public testing::Test {
 protected:
  KilledSaveTest() { facts_.model = "tiny"; }

  RunningService::Setting setting() const {
    RunningService::Setting setting;
    setting.service.session_folder = folder_ / "sessions";
    setting.cache_folder = folder_ / "kept";
    return setting;
  }
  static Json chat(char letter) { return chat_body(std::string(500, letter), 8); }
  static std::string text_of(const Json& answer) {
    return answer["choices"][0]["message"]["content"];
  }

  TemporaryFolder folder_;
  SessionFacts facts_;
};

TEST_F(KilledSaveTest, a_session_is_the_old_or_the_new_one) {
  std::string expected;
  {
    const RunningService running(setting());
    expected = text_of(post(running.port(), "/v1/chat/completions", chat('a')).json());
    post(running.port(), "/v1/chat/completions", chat('b'));
    for (const char* letter : {"a", "b"}) {
      const std::string path = concat("/v1/sessions/", letter, "/save");
      ASSERT_EQ(post(running.port(), path, chat(*letter)).status, 200);
    }
  }
  Sessions sessions(folder_ / "sessions", facts_);
  const std::vector<SavedPrefix> both = {sessions.load("a", false), sessions.load("b", false)};
  ASSERT_NE(both[0].tokens, both[1].tokens);
  const auto save = [&](size_t which) {
    sessions.save("s", both[which], std::ssize(both[which].tokens));
  };
  save(0);
  const auto bytes = static_cast<int64_t>(fs::file_size(folder_ / "sessions" / "s.session"));
  int partials = 0;
  size_t turn = 0;
  for (const Moment& moment : moments(bytes, 3 * time_of([&] { save(0); }))) {
    run_until(moment, [&] { save(turn++ % 2); });
    partials += has_partial(folder_ / "sessions") ? 1 : 0;
    const auto found = Sessions(folder_ / "sessions", facts_).load("s", false).tokens;
    EXPECT_TRUE(found == both[0].tokens || found == both[1].tokens);
    EXPECT_FALSE(has_partial(folder_ / "sessions"));
  }
  EXPECT_GE(partials, kMoments / 4);  // they did die in the midst of it
  save(0);
  const RunningService running(setting());
  EXPECT_EQ(post(running.port(), "/v1/sessions/s/restore", Json::object()).status, 200);
  const Json answer = post(running.port(), "/v1/chat/completions", chat('a')).json();
  EXPECT_EQ(text_of(answer), expected);
  EXPECT_GT(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 384);
}

/// What a folder of kept prompts has, whole.
struct Kept {
  StoredPiece piece = {};
  std::vector<Tensor> pages = {};
  Tensor states = {};
};

TEST_F(KilledSaveTest, kept_prompts_are_there_whole_or_not) {
  std::string expected;
  {
    const RunningService running(setting());
    expected = text_of(post(running.port(), "/v1/chat/completions", chat('a')).json());
  }
  const fs::path folder = folder_ / "kept" / "0";
  std::map<std::string, Kept> all;
  int64_t most = 0;
  {
    PrefixFiles files(folder, facts_, [](const std::string&) {});
    const auto head = [&](const std::string& id) {
      return SessionFile::read_head(folder / (id + ".prefix"));
    };
    for (const StoredPiece& piece : files.list()) {
      Kept kept{piece};
      for (int64_t i = 0; i < piece.pages; ++i) {
        kept.pages.push_back(torch::empty({head(piece.id)["page_bytes"]}, torch::kUInt8));
      }
      if (piece.has_states) {
        kept.states = torch::empty({head(piece.id)["state_bytes"]}, torch::kUInt8);
      }
      files.read(piece.id, kept.pages, kept.states);
      most = std::max(most, piece.bytes);
      all.emplace(piece.id, std::move(kept));
    }
  }
  ASSERT_GT(all.size(), 2U);
  const auto write_all = [&] {
    PrefixFiles files(folder, facts_, [](const std::string&) {});
    for (const auto& [id, kept] : all) files.write(kept.piece, kept.pages, kept.states);
  };
  const auto time = time_of(write_all);
  int partials = 0;
  for (const Moment& moment : moments(most, time)) {
    fs::remove_all(folder);
    run_until(moment, write_all);
    partials += fs::exists(folder) && has_partial(folder) ? 1 : 0;
    PrefixFiles files(folder, facts_, [](const std::string&) {});
    EXPECT_FALSE(has_partial(folder));
    for (const StoredPiece& piece : files.list()) {
      const Kept& kept = all.at(piece.id);
      std::vector<Tensor> pages;
      for (const Tensor& page : kept.pages) pages.push_back(torch::empty_like(page));
      files.read(piece.id, pages, {});
      for (size_t i = 0; i < pages.size(); ++i) EXPECT_TRUE(torch::equal(pages[i], kept.pages[i]));
    }
  }
  EXPECT_GE(partials, kMoments / 4);
  const RunningService running(setting());
  EXPECT_EQ(text_of(post(running.port(), "/v1/chat/completions", chat('a')).json()), expected);
}

}  // namespace
}  // namespace hypenet
