// hypenet chat on a small model with random weights, through pipes as scripts have it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <csignal>
#include <regex>

#include "engine/engine.h"
#include "store/checkpoint.h"
#include "tests/support/byte_tokenizer.h"
#include "tests/support/expect_error_line.h"
#include "tests/support/program.h"
#include "tests/support/tiny_model.h"
#include "tests/support/wait_until.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hypenet {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ContainsRegex;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing_support::expect_error_line;
using testing_support::ProgramResult;
using testing_support::run_program_with_input;
using testing_support::RunningProgram;
using testing_support::wait_until;

constexpr int64_t kTokens = 12;
constexpr const char* kTemplate =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% endif %}";

class ChatCommandTest : public testing::Test {
 protected:
  ChatCommandTest() {
    torch::manual_seed(3);
    ModelConfig config = testing_support::tiny_hypenet_config();
    config.vocab_size = 264;
    config.torch_dtype = "float32";
    CausalLm model(config);
    write_checkpoint(folder(), {.config = to_json(config),
                                .tensors = named_weights(*model, torch::kFloat32),
                                .run = {},
                                .companions_from = {}});
    testing_support::write_byte_tokenizer(folder());
    Json tokenizer = read_json(folder() / "tokenizer.json");
    for (const auto& [id, text] : {std::pair(257, "<|im_start|>"), std::pair(258, "<|im_end|>")}) {
      Json token = tokenizer["added_tokens"][0];
      token["id"] = id;
      token["content"] = text;
      tokenizer["added_tokens"].push_back(token);
    }
    write_json(folder() / "tokenizer.json", tokenizer);
    write_file(folder() / "chat_template.jinja", kTemplate);
  }

  fs::path folder() const { return root_ / "model"; }

  std::vector<std::string> arguments(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all = {"chat", folder().string(), "--tokens", std::to_string(kTokens)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  ProgramResult run(const std::string& input, const std::vector<std::string>& more = {}) const {
    return run_program_with_input(arguments(more), input);
  }

  /// The greedy answer to a conversation.
  std::string answer(const std::vector<ChatMessage>& messages,
                     const ChatTemplate& chat = ChatTemplate::named("chatml")) const {
    return answer_to(Tokenizer::load(folder()).encode(chat.render(messages)));
  }

  std::string answer_to(const std::vector<int32_t>& prompt) const {
    const Tokenizer tokenizer = Tokenizer::load(folder());
    GenerateOptions options;
    options.max_tokens = kTokens;
    options.stop_ids = {256, 258};
    Engine engine(load_model(Checkpoint(folder())));
    const auto ids = engine.generate(prompt, options);
    return tokenizer.decode(ids, true);
  }

  TemporaryFolder root_;
};

TEST_F(ChatCommandTest, each_answer_sees_the_turns_before_it) {
  const ProgramResult result = run("Hi\n\nAnd then?", {"--temperature", "0"});
  ASSERT_EQ(result.code, 0) << result.error;
  const std::string first = answer({{"user", "Hi"}});
  const std::string second = answer({{"user", "Hi"}, {"assistant", first}, {"user", "And then?"}});
  EXPECT_EQ(result.out, first + "\n" + second + "\n");
  EXPECT_NE(first, second);
  EXPECT_THAT(result.error, IsEmpty());
}

TEST_F(ChatCommandTest, special_tokens_in_a_message_are_text_unless_told_otherwise) {
  const std::string input = "a<|im_end|>\n";
  const Tokenizer tokenizer = Tokenizer::load(folder());
  std::vector<int32_t> ids = tokenizer.encode("<|im_start|>user\na");
  for (const char byte : std::string("<|im_end|>")) ids.push_back(byte);
  for (const int32_t id : tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n"))
    ids.push_back(id);
  const std::string as_text = answer_to(ids) + "\n";
  const std::string as_token = answer({{"user", "a<|im_end|>"}}) + "\n";
  EXPECT_NE(as_text, as_token);
  EXPECT_EQ(run(input, {"--temperature", "0"}).out, as_text);
  EXPECT_EQ(run(input, {"--temperature", "0", "--template-specials-in-messages"}).out, as_token);
  // Without roles there is nothing to guard.
  const ChatTemplate none = ChatTemplate::named("none");
  EXPECT_EQ(run(input, {"--temperature", "0", "--template", "none"}).out,
            answer({{"user", "a<|im_end|>"}}, none) + "\n");
}

TEST_F(ChatCommandTest, reset_forgets_all_but_the_system_message) {
  const ProgramResult result =
      run("Hi\n:reset\nHi\n:quit\nHi\n", {"--temperature", "0", "--system", "Be brief."});
  ASSERT_EQ(result.code, 0) << result.error;
  const std::string text = answer({{"system", "Be brief."}, {"user", "Hi"}});
  EXPECT_EQ(result.out, text + "\n" + text + "\n");
}

TEST_F(ChatCommandTest, stats_show_speed_and_memory) {
  const ProgramResult result =
      run(":stats\nHi\n:stats\n:help\n", {"--temperature", "0", "--template", "none"});
  ASSERT_EQ(result.code, 0) << result.error;
  // Two states of 4 heads, float32; keys and values of 2 heads of 16, 14 tokens, float32.
  EXPECT_THAT(result.error,
              AllOf(HasSubstr("no answer yet; states 8.0 KiB\n"), HasSubstr("prompt: 2 tokens in "),
                    HasSubstr("memory: KV 3.5 KiB for 14 tokens, states 8.0 KiB\n")));
  EXPECT_THAT(result.out, AllOf(Not(HasSubstr("tokens in")), HasSubstr(":reset")));
  // Not ContainsRegex, which would end at the answer's zero bytes.
  const std::regex speed("answer: 12 tokens in [0-9.]+ s, [0-9.]+ tokens/s \\(length\\)\n");
  EXPECT_TRUE(std::regex_search(result.error, speed)) << result.error;
}

TEST_F(ChatCommandTest, a_conversation_is_saved_and_gone_on_with) {
  const std::string sessions = (root_ / "sessions").string();
  const std::vector<std::string> flags = {"--temperature", "0", "--session-dir", sessions};
  const std::string hello(150, 'h');
  const std::string first = answer({{"user", hello}});
  const std::string second = answer({{"user", hello}, {"assistant", first}, {"user", "And then?"}});
  const ProgramResult saved = run(hello + "\n:save talk\n", flags);
  ASSERT_EQ(saved.code, 0) << saved.error;
  EXPECT_TRUE(saved.out.starts_with(first + "\nsession talk: ")) << saved.out;
  EXPECT_THAT(saved.out, EndsWith(" tokens saved\n"));
  const ProgramResult loaded = run(":load talk\nAnd then?\n:stats\n", flags);
  ASSERT_EQ(loaded.code, 0) << loaded.error;
  std::smatch found;
  const std::regex told("session talk: 2 messages, ([0-9]+) of ([0-9]+) tokens taken over\n");
  ASSERT_TRUE(std::regex_search(loaded.out, found, told)) << loaded.out;
  EXPECT_EQ(found[1], found[2]);
  EXPECT_GE(std::stoi(found[1]), 150);
  EXPECT_NE(loaded.out.find(second), std::string::npos) << loaded.out;
  const std::regex reused("prompt: [0-9]+ tokens \\(1[0-9][0-9] taken over\\) in ");
  EXPECT_TRUE(std::regex_search(loaded.error, reused)) << loaded.error;
  // A loaded conversation can be saved again, and one that goes on, too.
  const ProgramResult again = run(":load talk\n:save copy\n:load copy\nAnd then?\n", flags);
  EXPECT_EQ(again.code, 0) << again.error;
  EXPECT_NE(again.out.find(second), std::string::npos) << again.out;
}

TEST_F(ChatCommandTest, sessions_that_do_not_fit_are_refused_in_one_line) {
  const std::vector<std::string> flags = {"--temperature", "0", "--session-dir",
                                          (root_ / "sessions").string()};
  ASSERT_EQ(run("Hi\n:save talk\n", flags).code, 0);
  const auto refused = [&](const std::string& input) {
    const ProgramResult result = run(input, flags);
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(std::ranges::count(result.error, '\n'), 1) << result.error;
    return result.error;
  };
  EXPECT_THAT(refused(":save talk\n"),
              HasSubstr("session talk: expected a conversation that was read, found none"));
  EXPECT_THAT(refused(":load none\n"), HasSubstr("expected a session, found none named none"));
  EXPECT_THAT(refused(":load\n"), HasSubstr("name: expected 1 to 64 letters"));
  EXPECT_THAT(refused(":load ../talk\n"), HasSubstr("name: expected 1 to 64 letters"));
  const fs::path file = root_ / "sessions" / "talk.session";
  const std::string whole = read_file(file);
  write_file(file, whole.substr(0, whole.size() / 2));
  EXPECT_THAT(refused(":load talk\n"), HasSubstr("session: expected"));
  write_file(file, whole);
  ASSERT_EQ(run(":load talk\nHi\n", flags).code, 0);
  Json config = read_json(folder() / "config.json");
  config["rms_norm_eps"] = 0.01;  // another model of the same shape
  write_json(folder() / "config.json", config);
  EXPECT_THAT(refused(":load talk\n"), HasSubstr("session: model: expected "));
}

TEST_F(ChatCommandTest, without_a_template_the_answer_continues_the_text) {
  fs::remove(folder() / "chat_template.jinja");
  const ProgramResult result = run("The sun\nIt\n", {"--temperature", "0", "--template", "none"});
  ASSERT_EQ(result.code, 0) << result.error;
  const ChatTemplate none = ChatTemplate::named("none");
  const std::string first = answer({{"user", "The sun"}}, none);
  const std::string second =
      answer({{"user", "The sun"}, {"assistant", first}, {"user", "It"}}, none);
  EXPECT_EQ(result.out, first + "\n" + second + "\n");
}

TEST_F(ChatCommandTest, sampling_is_the_folders_unless_told_otherwise) {
  const std::string greedy = answer({{"user", "Hi"}}) + "\n";
  write_json(folder() / "generation_config.json", {{"do_sample", false}});
  EXPECT_EQ(run("Hi\n").out, greedy);
  write_json(folder() / "generation_config.json", {{"temperature", 5}, {"top_p", 1.0}});
  EXPECT_NE(run("Hi\n").out, greedy);
  EXPECT_EQ(run("Hi\n", {"--seed", "7"}).out, run("Hi\n", {"--seed", "7"}).out);
  EXPECT_NE(run("Hi\n", {"--seed", "7"}).out, run("Hi\n", {"--seed", "8"}).out);
  EXPECT_EQ(run("Hi\n", {"--top-k", "1"}).out, greedy);
}

TEST_F(ChatCommandTest, what_does_not_fit_is_said_and_the_program_goes_on) {
  const std::string longer(100, 'x');
  const ProgramResult result =
      run(concat(longer, "\nHi\n", longer, "\n"), {"--temperature", "0", "--context", "64"});
  EXPECT_EQ(result.code, 1);  // turns of a script that came to nothing
  EXPECT_EQ(result.out, answer({{"user", "Hi"}}) + "\n");
  EXPECT_THAT(result.error,
              HasSubstr("hypenet: prompt: expected at most 63 tokens, which leave one for the "
                        "answer of --context 64, found "));
  EXPECT_THAT(result.error, EndsWith("; :reset forgets the conversation\n"));
}

TEST_F(ChatCommandTest, an_answer_ends_where_the_context_does) {
  const std::string whole = answer({{"user", "Hi"}});
  const ProgramResult result = run_program_with_input(
      {"chat", folder().string(), "--temperature", "0", "--context", "64"}, "Hi\n");
  EXPECT_EQ(result.code, 0);
  EXPECT_TRUE(result.out.starts_with(whole)) << result.out;
  EXPECT_EQ(result.error,
            "hypenet: the answer ends before --tokens, at the end of --context 64; :reset forgets "
            "the conversation\n");
}

TEST_F(ChatCommandTest, a_conversation_beyond_the_models_length_is_told_once) {
  Json config = read_json(folder() / "config.json");
  config["max_position_embeddings"] = 64;
  write_json(folder() / "config.json", config);
  const ProgramResult result = run("Hi\nHi\nHi\n", {"--temperature", "0"});
  EXPECT_EQ(result.code, 0) << result.error;
  const std::string warning = "hypenet: warning: conversation: ";
  EXPECT_TRUE(result.error.starts_with(warning)) << result.error;
  EXPECT_EQ(result.error.find(warning, 1), std::string::npos) << result.error;
}

TEST_F(ChatCommandTest, an_unknown_command_is_a_failed_turn_of_a_script) {
  const ProgramResult result = run(":fly\n:hepl\n", {"--temperature", "0"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, IsEmpty());
  EXPECT_EQ(result.error,
            "hypenet: unknown command :fly; :help lists them\n"
            "hypenet: unknown command :hepl; did you mean :help? :help lists them\n");
}

TEST_F(ChatCommandTest, flags_that_change_nothing_are_refused) {
  expect_error_line(run("Hi\n", {"--template", "none", "--system", "Be brief."}),
                    "--system: has no effect with --template none");
  expect_error_line(run("Hi\n", {"--no-thinking"}),
                    "--no-thinking: has no effect with the chat "
                    "template of " +
                        folder().string());
  expect_error_line(run("Hi\n", {"--template", "none", "--template-specials-in-messages"}),
                    "--template-specials-in-messages: has no effect with --template none");
  expect_error_line(run("Hi\n", {"--temperature", "0", "--seed", "1"}),
                    "--seed: has no effect at temperature 0");
}

TEST_F(ChatCommandTest, a_template_that_is_not_there_or_not_known_is_an_error) {
  write_file(folder() / "chat_template.jinja", "{{ messages | shuffle }}");
  expect_error_line(run("Hi\n"),
                    "chat_template.jinja:1:15: expected a known filter, found \"shuffle\"");
  fs::remove(folder() / "chat_template.jinja");
  expect_error_line(run("Hi\n"),
                    "tokenizer_config.json: chat_template: expected a template, found none; "
                    "--template none (a model taught on text alone), chatml or llama3 "
                    "chooses one");
  expect_error_line(run("Hi\n", {"--template", "llama3"}),
                    "tokenizer.json: expected the chat template's token <|eot_id|>, found none");
  expect_error_line(run("Hi\n", {"--template", "gemma"}), "--template");
  expect_error_line(run("Hi\n", {"--template", "none", "--min-p", "2"}),
                    "--min-p: expected 0 to 1");
}

TEST_F(ChatCommandTest, a_template_of_no_known_family_runs_and_what_it_refuses_is_told) {
  const std::string text =
      "{% for m in messages %}{% if m.content == 'No' %}{{ raise_exception('Not that') }}"
      "{% endif %}{{ m.role ~ ': ' ~ m.content ~ '<|im_start|>' }}{% endfor %}";
  write_file(folder() / "chat_template.jinja", text);
  const ChatTemplate chat = ChatTemplate::load(folder());
  EXPECT_EQ(chat.end_of_turn(), "<|im_start|>");
  const ProgramResult result = run("Hi\n", {"--temperature", "0"});
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_EQ(result.out, answer({{"user", "Hi"}}, chat) + "\n");
  const ProgramResult refused = run("No\nHi\n", {"--temperature", "0"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.out, result.out);
  EXPECT_THAT(refused.error, HasSubstr("chat_template.jinja:1:53: Not that\n"));
}

TEST_F(ChatCommandTest, ctrl_c_stops_the_answer_and_not_the_program) {
  write_file(root_ / "input", "x\n:stats\n");
  RunningProgram program({"chat", folder().string(), "--template", "none", "--temperature", "0",
                          "--tokens", "1000000"},
                         HYPENET_BINARY, root_ / "input");
  ASSERT_TRUE(wait_until([&] { return !program.out_so_far().empty(); }));
  ::kill(program.process(), SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.code, 0) << result.error;
  EXPECT_THAT(result.error, HasSubstr("tokens/s (cancelled)\n"));
}

TEST_F(ChatCommandTest, one_ctrl_c_at_the_prompt_stays_and_two_leave) {
  const fs::path pipe = root_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  // Both ways, so that neither end waits for the other.
  const int input = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(input, 0);
  RunningProgram program(arguments({"--template", "none"}), HYPENET_BINARY, pipe);
  const auto helps = [&] {
    const size_t before = program.out_so_far().size();
    EXPECT_EQ(::write(input, ":help\n", 6), 6);
    return wait_until(
        [&] { return program.out_so_far().find(":quit", before) != std::string::npos; });
  };
  ASSERT_TRUE(helps());
  ::kill(program.process(), SIGINT);
  EXPECT_TRUE(helps());
  // Signals that come before the program looks are one.
  EXPECT_TRUE(wait_until([&] {
    ::kill(program.process(), SIGINT);
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(program.process()), &ended, WEXITED | WNOHANG | WNOWAIT);
    return ended.si_pid == program.process();
  }));
  const ProgramResult result = program.wait();
  ::close(input);
  EXPECT_EQ(result.code, 0) << result.error;
}

}  // namespace
}  // namespace hypenet
