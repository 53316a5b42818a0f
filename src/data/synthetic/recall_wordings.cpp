// Tables of wordings, and how one becomes tokens.
#include "data/synthetic/recall_wordings.h"

#include "base/error.h"

namespace hypenet {

namespace {

constexpr auto kFrames = std::to_array<RecallFrame>({
    {.thing = "access code",
     .things = "access codes",
     .owner = "building {key}",
     .facts = {"{The} is {value}.", "Type {value} to enter building {key}.",
               "Building {key} opens with the access code {value}.",
               "For building {key} the access code was set to {value}."},
     .questions = {" Which access code opens building {key}? {value}.",
                   "\nWhat must one type to enter building {key}?\n{value}\n",
                   " To enter building {key}, type {value}."}},
    {.thing = "phone extension",
     .things = "phone extensions",
     .owner = "agent {key}",
     .facts = {"{The} is {value}.", "Agent {key} can be reached at phone extension {value}.",
               "Dial {value} to speak to agent {key}.",
               "Calls for agent {key} go to phone extension {value}."},
     .questions = {" At which phone extension can agent {key} be reached? {value}.",
                   "\nI want to speak to agent {key}. What do I dial?\nDial {value}.\n",
                   " Calls for agent {key} went to phone extension {value}."}},
    {.thing = "locker number",
     .things = "locker numbers",
     .owner = "player {key}",
     .facts = {"{The} is {value}.", "Player {key} keeps the shoes in locker {value}.",
               "Locker {value} belongs to player {key}.",
               "Player {key} was given locker number {value}."},
     .questions = {" Which locker belongs to player {key}? Locker {value}.",
                   "\nWhere are the shoes of player {key}?\nIn locker {value}.\n",
                   " Remember that player {key} has locker {value}."}},
    {.thing = "serial number",
     .things = "serial numbers",
     .owner = "machine {key}",
     .facts = {"{The} is {value}.", "Machine {key} carries the serial number {value}.",
               "Serial number {value} was stamped on machine {key}.",
               "On the plate of machine {key} one reads: serial number {value}."},
     .questions = {" Which serial number does machine {key} carry? {value}.",
                   "\nWhat was stamped on machine {key}?\nSerial number {value}.\n",
                   " The plate of machine {key} shows the serial number {value}."}},
    {.thing = "stock number",
     .things = "stock numbers",
     .owner = "article {key}",
     .facts = {"{The} is {value}.", "To order article {key}, quote stock number {value}.",
               "Article {key} is listed under stock number {value}.",
               "Stock number {value} stands for article {key}."},
     .questions = {" Which stock number is quoted for article {key}? {value}.",
                   "\nUnder which number is article {key} listed?\nUnder {value}.\n",
                   " Article {key} has the stock number {value}."}},
    {.thing = "flight number",
     .things = "flight numbers",
     .owner = "the plane to {key}",
     .facts = {"{The} is {value}.", "The plane to {key} leaves as flight {value}.",
               "Flight {value} takes you to {key}.",
               "Passengers to {key} should board flight {value}."},
     .questions = {" Which flight goes to {key}? Flight {value}.",
                   "\nI am travelling to {key}. Which flight do I board?\nFlight {value}.\n",
                   " Whoever wants to go to {key} takes flight {value}."}},
    {.thing = "registration number",
     .things = "registration numbers",
     .owner = "ship {key}",
     .facts = {"{The} is {value}.", "Ship {key} is registered under the number {value}.",
               "The port lists ship {key} with registration number {value}.",
               "Registration number {value} was painted on ship {key}."},
     .questions = {" Under which number is ship {key} registered? {value}.",
                   "\nWhat was painted on ship {key}?\nRegistration number {value}.\n",
                   " In the list of the port, ship {key} has number {value}."}},
    {.thing = "invoice number",
     .things = "invoice numbers",
     .owner = "customer {key}",
     .facts = {"{The} is {value}.", "Customer {key} has yet to pay invoice {value}.",
               "Invoice {value} was sent to customer {key}.",
               "The bill of customer {key} has the invoice number {value}."},
     .questions = {" Which invoice was sent to customer {key}? Invoice {value}.",
                   "\nWhat does customer {key} have yet to pay?\nInvoice {value}.\n",
                   " The invoice for customer {key} has number {value}."}},
    {.thing = "room number",
     .things = "room numbers",
     .owner = "guest {key}",
     .facts = {"{The} is {value}.", "Guest {key} sleeps in room {value}.",
               "Room {value} is taken by guest {key}.",
               "The hotel has put guest {key} into room {value}."},
     .questions = {" In which room does guest {key} sleep? In room {value}.",
                   "\nWhere do I find guest {key}?\nIn room {value}.\n",
                   " Guest {key} was put into room {value}."}},
    {.thing = "password",
     .things = "passwords",
     .owner = "user {key}",
     .word_share = 1,
     .facts = {"{The} is {value}.", "User {key} logs in with the password {value}.",
               "When asked for a password, user {key} says {value}.",
               "The word {value} is what lets user {key} in."},
     .questions = {" With which password does user {key} log in? {value}.",
                   "\nWhich word lets user {key} in?\nThe word {value}.\n",
                   " User {key} has the password {value}."}},
    {.thing = "account number",
     .things = "account numbers",
     .owner = "client {key}",
     .facts = {"{The} is {value}.", "Client {key} holds account {value} at the bank.",
               "Money for client {key} must be sent to account {value}.",
               "Account {value} was opened by client {key}."},
     .questions = {" Which account does client {key} hold? Account {value}.",
                   "\nWhere must money for client {key} be sent?\nTo account {value}.\n",
                   " Client {key} opened the account {value}."}},
    {.thing = "code name",
     .things = "code names",
     .owner = "project {key}",
     .word_share = 1,
     .facts = {"{The} is {value}.", "In letters project {key} is only called {value}.",
               "Project {key} runs under the code name {value}.",
               "Whoever says {value} means project {key}."},
     .questions = {" Under which code name does project {key} run? {value}.",
                   "\nWhat is project {key} called in letters?\n{value}\n",
                   " Another name for project {key} is {value}."}},
    {.thing = "label",
     .things = "labels",
     .owner = "crate {key}",
     .word_share = 0.5,
     .facts = {"{The} is {value}.", "Crate {key} bears the label {value}.",
               "The label on crate {key} says {value}.", "They wrote {value} on crate {key}."},
     .questions = {" What is written on crate {key}? {value}.",
                   "\nWhat does the label on crate {key} say?\nIt says {value}.\n",
                   " The label {value} is on crate {key}."}},
    {.thing = "lucky number",
     .things = "lucky numbers",
     .owner = "{key}",
     .facts = {"{The} is {value}.", "Remember: the lucky number for {key} is {value}.",
               "{key} always bets on the lucky number {value}.",
               "One of the lucky numbers is {value}; it belongs to {key}."},
     .questions = {" What is the lucky number for {key}? {value}.",
                   "\nWhich lucky number belongs to {key}?\n{value}\n",
                   " The lucky number for {key} was {value}."}},
    {.thing = "value",
     .things = "values",
     .owner = "{key}",
     .word_share = 0.5,
     .facts = {"{The} is {value}.", "Note that {key} stands for {value}.", "{key}: {value}.",
               "The table has the entry {value} for {key}."},
     .questions = {" What does {key} stand for? {value}.",
                   "\nWhich entry does the table have for {key}?\n{value}\n", " {key}: {value}."}},
});

constexpr auto kQuestions = std::to_array<std::string_view>({
    " What is {the}? It is {value}.",
    "\nQ: What is {the}?\nA: {value}\n",
    "\nQuestion: What is {the}, going by the document above?\nAnswer: {value}\n",
    " {The}, as stated above, is {value}.",
    " Recall {the}: {value}.",
    " According to the document above, {the} is {value}.",
    "\nComplete this from the passage: {the} is {value}.\n",
    " Do you remember {the}? Yes, it is {value}.",
    "\nUser: What was {the}?\nAssistant: {The} was {value}.\n",
    " Earlier in this text we read what {the} is, namely {value}.",
    "\nLook up {the} in the passage.\n{The} given in the passage is {value}.\n",
    "\nTell me {the}, please.\n{value}\n",
});

constexpr auto kAnnouncements = std::to_array<std::string_view>({
    "Read on and remember any {things}; questions follow.\n",
    "You will be asked about {things} at the end of this document.\n",
    "Keep in mind all the {things} in the text below.\n",
    "While reading, look out for {things}. They will be needed later.\n",
    "Task: read the document and answer questions about {things}.\n",
    "Somewhere in this document there are {things} to be remembered.\n",
});

constexpr auto kListQuestions = std::to_array<std::string_view>({
    "\nList all {things} of this text in the order in which they came.\n",
    "\nWhich {things} did you come across, from first to last?\n",
    "\nSummary of the {things} above, from the first to the last:\n",
});

/// Appends `wording`; `values` gets where values begin. Wordings hold fields of other wordings.
void expand(std::string_view wording, const RecallFact& fact, std::string& text,
            std::vector<size_t>& values) {
  for (size_t at = 0; at < wording.size();) {
    const size_t open = std::min(wording.find('{', at), wording.size());
    text += wording.substr(at, open - at);
    if (open == wording.size()) return;
    const size_t close = wording.find('}', open);
    const std::string_view field = wording.substr(open + 1, close - open - 1);
    at = close + 1;
    if (field == "key") {
      text += fact.key;
    } else if (field == "value") {
      values.push_back(text.size());
      text += fact.value;
    } else if (field == "owner") {
      expand(fact.frame->owner, fact, text, values);
    } else if (field == "things") {
      text += fact.frame->things;
    } else {
      text += concat(field == "The" ? "The " : "the ", fact.frame->thing, " of ");
      expand(fact.frame->owner, fact, text, values);
    }
  }
}

}  // namespace

std::span<const RecallFrame> recall_frames() { return kFrames; }
std::span<const std::string_view> recall_questions() { return kQuestions; }
std::span<const std::string_view> recall_announcements() { return kAnnouncements; }
std::span<const std::string_view> recall_list_questions() { return kListQuestions; }

RecallPiece fill(std::string_view wording, const RecallFact& fact, const Tokenizer& tokenizer) {
  std::string text;
  std::vector<size_t> values;
  expand(wording, fact, text, values);
  RecallPiece piece = {tokenizer.encode(text), {}};
  size_t begin = 0;  // of a token in the text
  size_t value = 0;
  for (size_t i = 0; i < piece.ids.size(); ++i) {
    const size_t end = begin + tokenizer.token_bytes(piece.ids[i]).size();
    const auto place = static_cast<int64_t>(i);
    if (value < values.size() && end > values[value]) {
      if (begin <= values[value]) piece.answers.push_back({place, 0});
      piece.answers.back().length = place + 1 - piece.answers.back().start;
      if (end >= values[value] + fact.value.size()) ++value;
    }
    begin = end;
  }
  HYPENET_CHECK(begin == text.size() && value == values.size(),
                "recall row: expected tokens that spell \"", text, "\", found ", begin, " of ",
                text.size(), " bytes");
  return piece;
}

}  // namespace hypenet
