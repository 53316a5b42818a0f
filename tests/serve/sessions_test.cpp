// Sessions over HTTP, from one server to the next.
#include "serve/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "serve/session_file.h"
#include "tests/serve/running_service.h"

namespace hypenet {
namespace {

constexpr const char* kChat = "/v1/chat/completions";

class SessionsTest : public testing::Test {
 protected:
  RunningService::Setting setting() const {
    RunningService::Setting setting;
    setting.service.session_folder = folder_.path();
    return setting;
  }

  static Json long_chat() { return chat_body(std::string(500, 'y'), 8); }
  static std::string code_of(const HttpAnswer& answer) {
    return answer.json()["error"].value("code", "");
  }

  TemporaryFolder folder_;
};

TEST_F(SessionsTest, a_session_outlives_the_server) {
  Json body = long_chat();
  std::string expected;
  {
    const RunningService running(setting());
    const HttpAnswer answer = post(running.port(), kChat, body);
    ASSERT_EQ(answer.status, 200) << answer.body;
    const HttpAnswer saved = post(running.port(), "/v1/sessions/one/save", body);
    ASSERT_EQ(saved.status, 200) << saved.body;
    EXPECT_GT(saved.json()["saved_tokens"], 384);
    EXPECT_GT(saved.json()["snapshots"], 0);
    expected = answer.json()["choices"][0]["message"]["content"];
  }
  const RunningService running(setting());
  const Json list = ask(running.port(), "GET", "/v1/sessions").json();
  ASSERT_EQ(list["data"].size(), 1U);
  EXPECT_EQ(list["data"][0]["name"], "one");
  EXPECT_EQ(list["data"][0]["fits"], true) << list.dump();
  const HttpAnswer restored = post(running.port(), "/v1/sessions/one/restore", Json::object());
  ASSERT_EQ(restored.status, 200) << restored.body;
  EXPECT_GT(restored.json()["restored_tokens"], 384);
  const Json answer = post(running.port(), kChat, body).json();
  EXPECT_GT(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 384);
  EXPECT_EQ(answer["choices"][0]["message"]["content"], expected);
}

TEST_F(SessionsTest, an_answer_is_saved_by_its_id) {
  const RunningService running(setting());
  const Json answer = post(running.port(), kChat, long_chat()).json();
  const HttpAnswer saved =
      post(running.port(), "/v1/sessions/two/save", {{"response_id", answer["id"]}});
  EXPECT_EQ(saved.status, 200) << saved.body;
  EXPECT_EQ(code_of(post(running.port(), "/v1/sessions/two/save", {{"response_id", "none"}})),
            "invalid_value");
}

TEST_F(SessionsTest, nothing_to_save_is_no_success) {
  const RunningService running(setting());
  const HttpAnswer saved = post(running.port(), "/v1/sessions/none/save", long_chat());
  EXPECT_EQ(saved.status, 409);
  EXPECT_EQ(code_of(saved), "nothing_cached");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(SessionsTest, names_and_absent_sessions_are_refused) {
  const RunningService running(setting());
  for (const char* path : {"/v1/sessions/.hidden/save", "/v1/sessions/a%2Fb/save"}) {
    EXPECT_GE(post(running.port(), path, long_chat()).status, 400) << path;
  }
  EXPECT_EQ(code_of(post(running.port(), "/v1/sessions/absent/restore", Json::object())),
            "session_not_found");
  EXPECT_EQ(code_of(ask(running.port(), "DELETE", "/v1/sessions/absent")), "session_not_found");
  EXPECT_EQ(code_of(ask(running.port(), "GET", "/v1/sessions/absent")), "session_not_found");
}

TEST_F(SessionsTest, a_file_of_another_model_or_with_another_byte_is_refused) {
  {
    const RunningService running(setting());
    post(running.port(), kChat, long_chat());
    ASSERT_EQ(post(running.port(), "/v1/sessions/s/save", long_chat()).status, 200);
  }
  const auto path = folder_ / "s.session";
  const std::string whole = read_file(path);
  const RunningService running(setting());
  const auto restored = [&](const std::string& bytes) {
    write_file(path, bytes);
    return code_of(post(running.port(), "/v1/sessions/s/restore", Json::object()));
  };
  EXPECT_EQ(restored(whole.substr(0, whole.size() - 100)), "session_corrupt");
  EXPECT_EQ(restored(whole + "x"), "session_corrupt");
  EXPECT_EQ(restored(""), "session_corrupt");
  EXPECT_EQ(post(running.port(), kChat, long_chat()).status, 200);
}

TEST_F(SessionsTest, a_head_that_cannot_be_is_refused) {
  const Sessions sessions(folder_.path(), {});
  const auto code_of_load = [&](const Json& facts, const std::vector<int64_t>& tokens) {
    Json pieces = Json::array();
    for (const int64_t count : tokens) {
      pieces.push_back({{"tokens", count}, {"exact", true}, {"marked", false}, {"states", false}});
    }
    const Json head = {{"facts", facts},     {"created", 0},     {"prompt_tokens", 0},
                       {"page_bytes", 0},    {"state_bytes", 0}, {"pieces", pieces},
                       {"messages", nullptr}};
    const std::vector<SessionPart> parts = {{"tokens", {}}, {"states", {}}, {"pages", {}}};
    write_session(folder_ / "s.session", head, parts);
    try {
      sessions.load("s", true);
    } catch (const ApiError& error) {
      return std::string(error.code());
    }
    return std::string();
  };
  const Json facts = write_fields(SessionFacts{});
  EXPECT_EQ(code_of_load(facts, {}), "");
  EXPECT_EQ(code_of_load(Json::array(), {}), "session_mismatch");
  EXPECT_EQ(code_of_load(3, {}), "session_mismatch");
  constexpr int64_t kHuge = int64_t{1} << 62;
  EXPECT_EQ(code_of_load(facts, {kHuge}), "session_corrupt");  // times 4 bytes: none at all
  EXPECT_EQ(code_of_load(facts, {kHuge, kHuge}), "session_corrupt");
  EXPECT_EQ(code_of_load(facts, {3, -3}), "session_corrupt");
}

TEST_F(SessionsTest, what_is_no_file_is_no_session) {
  const RunningService running(setting());
  std::filesystem::create_directory(folder_ / "d.session");
  EXPECT_EQ(code_of(ask(running.port(), "DELETE", "/v1/sessions/d")), "session_not_found");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "d.session"));
  EXPECT_TRUE(ask(running.port(), "GET", "/v1/sessions").json()["data"].empty());
}

TEST_F(SessionsTest, every_end_of_an_operation_is_counted) {
  const RunningService running(setting());
  const auto count = [&](const std::string& op, const std::string& result) {
    const std::string text = ask(running.port(), "GET", "/metrics").body;
    const std::string name = "hypenet_session_operations_total{";
    for (size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
      const std::string line = text.substr(at, text.find('\n', at) - at);
      const bool is_it = line.find("op=\"" + op + "\"") != line.npos &&
                         line.find("result=\"" + result + "\"") != line.npos;
      if (is_it) return std::stod(line.substr(line.rfind(' ')));
    }
    return 0.0;
  };
  post(running.port(), "/v1/sessions/s/save", long_chat());
  EXPECT_EQ(count("save", "nothing_cached"), 1);
  post(running.port(), kChat, long_chat());
  post(running.port(), "/v1/sessions/s/save", long_chat());
  post(running.port(), "/v1/sessions/.s/save", long_chat());
  post(running.port(), "/v1/sessions/s/restore", Json::object());
  post(running.port(), "/v1/sessions/absent/restore", Json::object());
  ask(running.port(), "DELETE", "/v1/sessions/absent");
  ask(running.port(), "DELETE", "/v1/sessions/s");
  EXPECT_EQ(count("save", "ok"), 1);
  EXPECT_EQ(count("save", "invalid_value"), 1);
  EXPECT_EQ(count("restore", "ok"), 1);
  EXPECT_EQ(count("restore", "session_not_found"), 1);
  EXPECT_EQ(count("delete", "session_not_found"), 1);
  EXPECT_EQ(count("delete", "ok"), 1);
}

TEST_F(SessionsTest, a_restored_session_is_found_among_several_engines) {
  {
    const RunningService running(setting());
    post(running.port(), kChat, long_chat());
    ASSERT_EQ(post(running.port(), "/v1/sessions/s/save", long_chat()).status, 200);
  }
  auto several = setting();
  several.engines = 3;
  const RunningService running(several);
  // Others make the first engine the busiest.
  for (const char* text : {"a", "b"}) {
    post(running.port(), kChat, chat_body(std::string(600, *text), 4));
  }
  ASSERT_EQ(post(running.port(), "/v1/sessions/s/restore", Json::object()).status, 200);
  for (int i = 0; i < 3; ++i) {
    const Json answer = post(running.port(), kChat, long_chat()).json();
    EXPECT_GT(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 384);
  }
}

TEST_F(SessionsTest, without_a_folder_there_are_none) {
  const RunningService running;
  EXPECT_EQ(code_of(ask(running.port(), "GET", "/v1/sessions")), "sessions_disabled");
  EXPECT_EQ(code_of(post(running.port(), "/v1/sessions/a/save", long_chat())), "sessions_disabled");
}

TEST_F(SessionsTest, other_facts_do_not_fit) {
  Sessions sessions(folder_.path(), {.model = "a", .tokenizer = "t", .grid = "g"});
  SavedPrefix prefix;
  prefix.tokens = {1, 2, 3};
  prefix.pieces.push_back({.tokens = 3, .states = torch::zeros({8}, torch::kUInt8)});
  sessions.save("s", prefix, 3);
  const Sessions of_another(folder_.path(), {.model = "b", .tokenizer = "t", .grid = "g"});
  const Sessions of_another_grid(folder_.path(), {.model = "a", .tokenizer = "t", .grid = "h"});
  EXPECT_EQ(sessions.load("s", false).tokens, prefix.tokens);
  EXPECT_THROW(of_another.load("s", false), ApiError);
  EXPECT_THROW(of_another.load("s", true), ApiError);
  EXPECT_THROW(of_another_grid.load("s", false), ApiError);
  EXPECT_FALSE(of_another_grid.load("s", true).pieces[0].is_exact);
}

}  // namespace
}  // namespace hypenet
