// What the server does with clients that are slow, silent or too many.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/http/served.h"
#include "tests/support/wait_until.h"

namespace hypenet {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::wait_until;

using Exchange = std::shared_ptr<HttpExchange>;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

void answer(const HttpRequest&, const Exchange& exchange) { exchange->respond({}); }

double seconds_of(const std::function<void()>& function) {
  const auto begin = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

TEST(HttpLimits, a_header_that_drips_is_answered_408_while_others_are_served) {
  HttpLimits limits;
  limits.header_seconds = 0.2;
  Served served(answer, limits);
  RawClient slow(served.port()), other(served.port());
  std::thread dripping([&] {
    for (int i = 0; i < 20; ++i) {
      slow.send(kGet.substr(i, 1));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  other.send(kGet);
  EXPECT_EQ(other.status(), 200);
  EXPECT_THAT(slow.receive_all(), HasSubstr("HTTP/1.1 408 Request Timeout"));
  dripping.join();
}

TEST(HttpLimits, a_header_that_stops_is_answered_408) {
  HttpLimits limits;
  limits.header_seconds = 0.1;
  Served served(answer, limits);
  RawClient client(served.port());
  client.send("GET / HTTP/1.1\r\nHost:");
  EXPECT_THAT(client.receive_all(), HasSubstr("request_timeout"));
}

TEST(HttpLimits, a_body_that_stops_is_answered_408) {
  HttpLimits limits;
  limits.header_seconds = 0.1;
  limits.body_bytes_per_second = 1000;
  Served served(answer, limits);
  RawClient client(served.port());
  const double seconds = seconds_of([&] {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" +
                std::string(100, 'x'));
    EXPECT_THAT(client.receive_all(), HasSubstr("request_timeout"));
  });
  EXPECT_GE(seconds, 0.2);  // the 100 bytes were paid for
}

TEST(HttpLimits, silence_is_closed_without_a_word) {
  HttpLimits limits;
  limits.header_seconds = 0.1;
  Served served(answer, limits);
  RawClient client(served.port());
  EXPECT_THAT(client.receive_all(), IsEmpty());
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpLimits, an_idle_connection_is_closed_without_a_word) {
  HttpLimits limits;
  limits.idle_seconds = 0.1;
  Served served(answer, limits);
  RawClient client(served.port());
  client.send(kGet);
  EXPECT_EQ(client.status(), 200);
  EXPECT_THAT(client.receive_all(), IsEmpty());
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpLimits, a_handler_may_take_longer_than_all_of_them) {
  HttpLimits limits;
  limits.header_seconds = limits.idle_seconds = limits.unread_seconds = 0.15;
  std::thread late;
  Served served(
      [&](const HttpRequest&, const Exchange& exchange) {
        late = std::thread([exchange] {
          std::this_thread::sleep_for(std::chrono::milliseconds(500));
          exchange->respond({});
        });
      },
      limits);
  RawClient client(served.port());
  client.send(kGet);
  EXPECT_EQ(client.status(), 200);
  late.join();
}

TEST(HttpLimits, a_thousand_idle_connections_leave_room_for_one_more) {
  Served served(answer);
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(std::make_unique<RawClient>(served.port()));
  ASSERT_TRUE(wait_until([&] { return served.server().connections() == 1000; }));
  RawClient client(served.port());
  client.send(kGet);
  EXPECT_EQ(client.status(), 200);
}

TEST(HttpLimits, connections_beyond_the_limit_wait_for_one_to_close) {
  HttpLimits limits;
  limits.connections = 2;
  Served served(answer, limits);
  RawClient first(served.port()), second(served.port());
  ASSERT_TRUE(wait_until([&] { return served.server().connections() == 2; }));
  RawClient third(served.port());
  third.send(kGet);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(served.server().connections(), 2);
  first.close();
  EXPECT_EQ(third.status(), 200);
}

/// Events of 64 KiB, until the client is gone.
void stream_until_gone(const Exchange& exchange, const Told& gone) {
  exchange->begin({200, {}, "text/event-stream", ""});
  for (int i = 0; i < 2000 && !gone.is_told(); ++i) {
    exchange->write(std::string(64 << 10, 'x'));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(HttpLimits, a_reader_that_stops_is_cut_off_at_its_unsent_bytes) {
  Told gone;
  std::thread writer;
  Served served([&](const HttpRequest&, const Exchange& exchange) {
    exchange->on_gone(gone);
    writer = std::thread([&gone, exchange] { stream_until_gone(exchange, gone); });
  });
  RawClient client(served.port(), 64 << 10);
  client.send(kGet);
  EXPECT_TRUE(gone.wait());
  writer.join();
  const size_t received = client.receive_all().size();
  EXPECT_TRUE(client.was_reset());
  EXPECT_LT(received, size_t{4 << 20});
}

TEST(HttpLimits, a_reader_that_stops_is_cut_off_after_its_time) {
  HttpLimits limits;
  limits.unread_seconds = 0.2;
  for (const bool is_streamed : {false, true}) {
    Told came, gone;
    Exchange held;
    Served served(
        [&](const HttpRequest&, const Exchange& exchange) {
          exchange->on_gone(gone);
          held = exchange;
          came();
          const std::string bytes(8 << 20, 'x');  // one event may be larger than the limit
          if (!is_streamed) return exchange->respond({200, {}, "text/plain", bytes});
          exchange->begin({});
          exchange->write(bytes);
        },
        limits);
    RawClient client(served.port(), 64 << 10);
    client.send(kGet);
    ASSERT_TRUE(came.wait());
    EXPECT_TRUE(wait_until([&] { return served.server().connections() == 0; }));
    EXPECT_LT(client.receive_all().size(), size_t{8 << 20});
    EXPECT_EQ(gone.is_told(), is_streamed);
  }
}

TEST(HttpLimits, a_reader_that_is_slow_but_reads_gets_all) {
  HttpLimits limits;
  limits.unread_seconds = 0.5;
  constexpr size_t kBytes = 2 << 20;
  Served served(
      [](const HttpRequest&, const Exchange& exchange) {
        exchange->respond({200, {}, "text/plain", std::string(kBytes, 'x')});
      },
      limits);
  RawClient client(served.port(), 64 << 10);
  client.send("GET / HTTP/1.0\r\n\r\n");
  size_t received = 0;
  std::string piece;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    piece = client.receive_some_bytes();
    received += piece.size();
  } while (!piece.empty());
  EXPECT_GT(received, kBytes);
}

}  // namespace
}  // namespace hypenet
