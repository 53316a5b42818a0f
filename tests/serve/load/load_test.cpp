// A load test's client and what it sends, against a server without a model.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "serve/load/answer_reader.h"
#include "serve/load/client.h"
#include "serve/load/conversation.h"
#include "serve/load/run.h"
#include "tests/serve/load/fake_api.h"
#include "tests/support/expect_error.h"

namespace hypenet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void ignore(const LoadProgress&) {}

LoadOptions small_load(const FakeApi& api) {
  LoadOptions options;
  options.url = api.url();
  options.conversations = 12;
  options.clients = 3;
  options.prompt_tokens = {20, 20};
  options.answer_tokens = {5, 5};
  options.warm_up = 2;
  return options;
}

TEST(AnswerReader, any_cut_into_pieces_gives_the_same_body) {
  const std::string head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n";
  for (const std::string& bytes :
       {head + "Content-Length: 6\r\n\r\nabcdef",
        head + "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n03\r\ndef\r\n0\r\nT: t\r\n\r\n"}) {
    for (size_t piece = 1; piece <= bytes.size(); ++piece) {
      AnswerReader reader;
      std::string body;
      for (size_t i = 0; i < bytes.size(); i += piece) {
        EXPECT_FALSE(reader.is_whole());
        reader.push(std::string_view(bytes).substr(i, piece), body);
      }
      ASSERT_TRUE(reader.is_whole());
      ASSERT_EQ(body, "abcdef");
      ASSERT_EQ(reader.status(), 200);
      ASSERT_TRUE(reader.keeps_alive());
    }
  }
}

TEST(AnswerReader, an_answer_without_a_length_ends_with_the_connection) {
  AnswerReader reader;
  std::string body;
  reader.push("HTTP/1.1 200 OK\r\n\r\nabc", body);
  EXPECT_FALSE(reader.is_whole());
  reader.end();
  EXPECT_TRUE(reader.is_whole());
  EXPECT_FALSE(reader.keeps_alive());
  EXPECT_EQ(body, "abc");
}

TEST(AnswerReader, broken_answers_are_errors) {
  for (const char* bytes :
       {"SSH-2.0\r\n", "HTTP/1.1 abc\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"}) {
    AnswerReader reader;
    std::string body;
    EXPECT_THROW(reader.push(bytes, body), Error) << bytes;
  }
  AnswerReader half;
  std::string body;
  half.push("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", body);
  EXPECT_THROW(half.end(), Error);
}

TEST(EventReader, gives_data_alone) {
  EventReader reader;
  EXPECT_THAT(reader.push(": comment\n\nevent: x\ndata: a\ndata:b\n\nda"), ElementsAre("a\nb"));
  EXPECT_THAT(reader.push("ta: c\r\n"), IsEmpty());
  EXPECT_THAT(reader.push("\r\n"), ElementsAre("c"));
}

TEST(ServerAddress, has_host_port_and_prefix) {
  const ServerAddress plain = ServerAddress::parse("http://localhost");
  EXPECT_EQ(plain.host, "localhost");
  EXPECT_EQ(plain.port, 80);
  const ServerAddress whole = ServerAddress::parse("http://[::1]:8080/api/");
  EXPECT_EQ(whole.host, "::1");
  EXPECT_EQ(whole.authority, "[::1]:8080");
  EXPECT_EQ(whole.port, 8080);
  EXPECT_EQ(whole.prefix, "/api");
  for (const char* url :
       {"https://a", "a:80", "http://", "http://a:0", "http://a:x", "http://a:65536"}) {
    EXPECT_THROW(ServerAddress::parse(url), Error) << url;
  }
}

TEST(LoadClient, tells_what_cannot_be_reached) {
  int port = 0;
  {
    const FakeApi api;
    port = ServerAddress::parse(api.url()).port;
  }
  try {
    ask(ServerAddress::parse(concat("http://127.0.0.1:", port)), "GET /", "", "", 5);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Connection refused"));
  }
}

TEST(LoadClient, a_request_ends_at_its_time) {
  std::vector<std::shared_ptr<HttpExchange>> held;
  Served served([&](const HttpRequest&, const auto& exchange) { held.push_back(exchange); });
  const auto address = ServerAddress::parse(concat("http://127.0.0.1:", served.port()));
  try {
    ask(address, "GET /", "", "", 0.1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no end in time"));
  }
}

/// A server that says nothing of closing and closes each connection behind its first answer: at
/// once, or when the next request comes.
class ClosingServer {
 public:
  explicit ClosingServer(bool waits_for_next) {
    socket_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, any, size), 0);
    EXPECT_EQ(listen(socket_, 8), 0);
    EXPECT_EQ(getsockname(socket_, any, &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, waits_for_next] {
      std::array<char, 4096> input{};
      for (int peer = 0; (peer = accept(socket_, nullptr, nullptr)) >= 0; close(peer)) {
        constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        recv(peer, input.data(), input.size(), 0);
        send(peer, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
        if (waits_for_next) recv(peer, input.data(), input.size(), 0);
      }
    });
  }
  ~ClosingServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  std::string url() const { return concat("http://127.0.0.1:", port_); }

 private:
  int socket_ = -1;
  int port_ = 0;
  std::thread thread_;
};

TEST(LoadClient, a_server_may_close_what_it_seemed_to_keep) {
  for (const bool waits_for_next : {false, true}) {
    const ClosingServer server(waits_for_next);
    std::vector<std::string> answers;
    LoadClient client(ServerAddress::parse(server.url()), [&](const AnswerPart& part) {
      if (part.is_last) answers.push_back(concat(part.body, part.error));
    });
    for (int64_t i = 0; i < 5; ++i) {
      client.send(i, "GET /", "", "", 5);
      while (client.under_way() > 0) client.poll(1);
    }
    EXPECT_THAT(answers, ElementsAre("ok", "ok", "ok", "ok", "ok")) << waits_for_next;
  }
}

TEST(LoadOptions, lines_give_prompts_and_lengths) {
  const auto lines = read_load_lines(
      "{\"prompt\": \"a\"}\n\n{\"prompt_tokens\": 7, \"answer_tokens\": 3}\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}",
      "f");
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0].prompt, "a");
  EXPECT_EQ(lines[1].prompt_tokens, 7);
  EXPECT_EQ(lines[1].answer_tokens, 3);
  EXPECT_TRUE(lines[2].prompt.is_array());
  for (const char* text : {"", "[1]", "{\"promt\": 1}", "{\"prompt\": \"a\", \"prompt_tokens\": 1}",
                           "{\"answer_tokens\": 0}", "{"}) {
    EXPECT_THROW(read_load_lines(text, "f"), Error) << text;
  }
}

TEST(Conversation, is_a_function_of_its_seed_and_grows) {
  LoadOptions options;
  options.prompt_tokens = {4, 8};
  options.answer_tokens = {2, 3};
  options.shared_prefix = 5;
  const std::vector<int32_t> ids = {7, 8, 9};
  Conversation one(options, ids, 3), again(options, ids, 3), other(options, ids, 4);
  EXPECT_EQ(one.body("m"), again.body("m"));
  const Json first = Json::parse(one.body("m")), second = Json::parse(other.body("m"));
  EXPECT_NE(first["prompt"], second["prompt"]);
  EXPECT_TRUE(
      std::equal(first["prompt"].begin(), first["prompt"].begin() + 5, second["prompt"].begin()));
  one.go_on("", 6);
  const Json next = Json::parse(one.body("m"));
  EXPECT_GE(next["prompt"].size(), first["prompt"].size() + 6 + 4);
  EXPECT_TRUE(std::equal(first["prompt"].begin(), first["prompt"].end(), next["prompt"].begin()));
}

TEST(RunLoad, sends_what_was_asked_for_and_counts_it) {
  FakeApi api;
  LoadOptions options = small_load(api);
  options.ignores_end = true;
  int64_t most = 0;
  const LoadResult result = run_load(
      options, [&](const LoadProgress& progress) { most = std::max(most, progress.under_way); });
  EXPECT_LE(most, 3);
  ASSERT_EQ(result.records.size(), 12U);
  for (const RequestRecord& record : result.records) {
    EXPECT_EQ(record.error, "");
    EXPECT_EQ(record.prompt_tokens, 20);
    EXPECT_EQ(record.answer_tokens, 5);
    EXPECT_EQ(record.events.size(), 5U);
    EXPECT_LE(record.sent, record.events.front());
    EXPECT_LE(record.events.back(), record.ended);
  }
  EXPECT_EQ(result.server_cpu_seconds, 0.5);
  const std::vector<Json> bodies = api.bodies();
  ASSERT_EQ(bodies.size(), 14U);  // two of the warm-up
  EXPECT_EQ(bodies[2]["model"], "fake");
  EXPECT_EQ(bodies[2]["max_tokens"], 5);
  EXPECT_EQ(bodies[2]["ignore_eos"], true);
  EXPECT_EQ(bodies[2]["stream_options"]["include_usage"], true);
  for (const Json& id : bodies[2]["prompt"]) {
    EXPECT_TRUE(id >= 7 && id <= 10);
  }
}

TEST(RunLoad, a_shared_prefix_and_turns_are_reused) {
  FakeApi api;
  LoadOptions options = small_load(api);
  options.conversations = 4;
  options.shared_prefix = 100;
  options.turns = 3;
  const LoadResult result = run_load(options, ignore);
  ASSERT_EQ(result.records.size(), 12U);
  int64_t later = 0;
  for (const RequestRecord& record : result.records) {
    EXPECT_GE(record.reused_tokens, 100);
    if (record.prompt_tokens > 120) {
      ++later;
      EXPECT_GE(record.reused_tokens, record.prompt_tokens - 25);  // all but the last turn
    }
  }
  EXPECT_EQ(later, 8);
}

TEST(RunLoad, a_chat_goes_on_with_its_answers) {
  FakeApi api;
  LoadOptions options = small_load(api);
  options.endpoint = LoadEndpoint::kChat;
  options.conversations = 1;
  options.turns = 2;
  options.warm_up = 0;
  const LoadResult result = run_load(options, ignore);
  ASSERT_EQ(result.records.size(), 2U);
  EXPECT_EQ(result.records[0].events.size(), 5U);  // the empty delta in front is none
  const std::vector<Json> bodies = api.bodies();
  ASSERT_EQ(bodies[1]["messages"].size(), 3U);
  EXPECT_EQ(bodies[1]["messages"][1],
            (Json{{"role", "assistant"}, {"content", "w0 w1 w2 w3 w4 "}}));
}

TEST(RunLoad, failures_are_told_and_do_not_stop_it) {
  FakeApi api;
  LoadOptions options = small_load(api);
  options.clients = 1;
  options.warm_up = 0;
  options.conversations = 5;
  api.fail_next({"refuse", "cut", "endless"});
  const LoadResult result = run_load(options, ignore);
  EXPECT_EQ(result.records[0].error, "status 503: full");
  EXPECT_NE(result.records[1].error, "");
  EXPECT_EQ(result.records[2].error, "the stream ended without [DONE]");
  EXPECT_EQ(result.records[3].error, "");
  EXPECT_EQ(result.records[4].error, "");
  api.fail_next({"refuse"});
  options.warm_up = 1;
  EXPECT_THROW(run_load(options, ignore), Error);
}

TEST(RunLoad, requests_come_at_their_rate) {
  FakeApi api;
  LoadOptions options = small_load(api);
  options.clients = 0;
  options.conversations = 40;
  options.rate = 200;
  const LoadResult result = run_load(options, ignore);
  EXPECT_GT(result.seconds, 0.08);  // 0.2 s are expected
  std::vector<double> sent;
  for (const RequestRecord& record : result.records) sent.push_back(record.sent);
  EXPECT_TRUE(std::ranges::is_sorted(sent));
  EXPECT_GT(sent.back(), 0.08);
}

TEST(RunLoad, sends_nothing_when_its_time_is_over) {
  FakeApi api;
  LoadOptions options = small_load(api);
  options.conversations = 1'000'000;
  options.seconds = 0.2;
  options.turns = 1000;
  LoadProgress last;
  const LoadResult result = run_load(options, [&](const LoadProgress& now) { last = now; });
  EXPECT_GE(std::ssize(result.records), 6);
  for (const RequestRecord& record : result.records) EXPECT_LT(record.sent, 0.3);
  EXPECT_EQ(last.ended, std::ssize(result.records));
  EXPECT_EQ(last.all, last.ended);
  for (const RequestRecord& record : result.records) EXPECT_THAT(record.error, IsEmpty());
}

TEST(RunLoad, ends_where_its_watcher_throws) {
  FakeApi api;
  EXPECT_THROW(run_load(small_load(api), [](const LoadProgress&) { throw Error("enough"); }),
               Error);
}

}  // namespace
}  // namespace hypenet
