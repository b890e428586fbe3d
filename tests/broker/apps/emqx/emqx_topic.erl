%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_topic).
-export([words/1, match/2, wildcard/1, valid_filter/1]).

words(Topic) ->
    binary:split(Topic, <<"/">>, [global]).

wildcard(Filter) ->
    binary:match(Filter, [<<"+">>, <<"#">>]) =/= nomatch.

valid_filter(<<>>) ->
    false;
valid_filter(Filter) ->
    valid_words(words(Filter)).

valid_words([<<"#">>]) -> true;
valid_words([]) -> true;
valid_words([<<"+">> | Rest]) -> valid_words(Rest);
valid_words([Word | Rest]) -> not wildcard(Word) andalso valid_words(Rest).

%% Wildcards do not reach topics that start with a dollar sign.
match([<<$$, _/binary>> | _], [<<"#">> | _]) -> false;
match([<<$$, _/binary>> | _], [<<"+">> | _]) -> false;
match(Topic, Filter) -> match_words(Topic, Filter).

match_words(_, [<<"#">>]) -> true;
match_words([_ | Topic], [<<"+">> | Filter]) -> match_words(Topic, Filter);
match_words([Word | Topic], [Word | Filter]) -> match_words(Topic, Filter);
match_words([], []) -> true;
match_words(_, _) -> false.
