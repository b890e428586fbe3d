%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

-module(emqx_json).
-export([encode/1]).

encode(Term) ->
    unicode:characters_to_binary(value(Term)).

value(true) -> "true";
value(false) -> "false";
value(null) -> "null";
value(undefined) -> "null";
value(A) when is_atom(A) -> string(atom_to_binary(A));
value(B) when is_binary(B) -> string(B);
value(N) when is_integer(N) -> integer_to_list(N);
value(F) when is_float(F) -> io_lib:format("~p", [F]);
value(M) when is_map(M) -> object(maps:to_list(M));
value({L}) when is_list(L) -> object(L);
value([{}]) -> "{}";
value([{K, _} | _] = L) when is_atom(K); is_binary(K) -> object(L);
value(L) when is_list(L) -> [$[, lists:join($,, [value(V) || V <- L]), $]].

object(Pairs) ->
    [${, lists:join($,, [[string(key(K)), $:, value(V)] || {K, V} <- Pairs]), $}].

key(K) when is_atom(K) -> atom_to_binary(K);
key(K) when is_integer(K) -> integer_to_binary(K);
key(K) -> iolist_to_binary(K).

string(B) ->
    [$", [escape(C) || C <- unicode:characters_to_list(B)], $"].

escape($") -> "\\\"";
escape($\\) -> "\\\\";
escape($\n) -> "\\n";
escape(C) when C < 32 -> io_lib:format("\\u~4.16.0b", [C]);
escape(C) -> C.
