%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% Turns emqx.conf (and EMQX_A__B in the environment) into the files that a node boots with, and prints the flags
%% that name them. A node cannot start without this program, as in EMQX.
-module(cuttlefish_escript).
-export([main/1]).

main([Conf, Dir, Name, Cookie]) ->
    Settings = maps:merge(file_settings(Conf), environment()),
    {{Y, M, D}, {HH, MM, SS}} = calendar:local_time(),
    Stamp = io_lib:format("~4..0w.~2..0w.~2..0w.~2..0w.~2..0w.~2..0w", [Y, M, D, HH, MM, SS]),
    Config = filename:join(Dir, ["app.", Stamp, ".config"]),
    Args = filename:join(Dir, ["vm.", Stamp, ".args"]),
    ok = file:write_file(Config, io_lib:format("~p.~n", [config(Settings, filename:dirname(filename:absname(Dir)))])),
    ok = file:write_file(Args, ["-name ", Name, "\n-setcookie ", Cookie, "\n"
                                "+S 2:2\n+SDcpu 1:1\n+SDio 2\n+A 1\n+P 2097152\n+sbwt none\n+sbwtdcpu none\n+sbwtdio none\n"]),
    io:format("-config ~s -args_file ~s~n", [Config, Args]).

config(Settings, DataDir) ->
    LogDir = filename:join(filename:dirname(DataDir), "log"),
    [{kernel, [{logger_level, warning},
               {logger, [{handler, default, logger_std_h,
                          #{config => #{file => filename:join(LogDir, "emqx.log.1"), max_no_bytes => 10485760,
                                        max_no_files => 3}}}]}]},
     {sasl, [{sasl_error_logger, false}]},
     {ekka, [{data_dir, DataDir}, {seeds, seeds(Settings)}]},
     {emqx, [{data_dir, DataDir}, {listeners, listeners(Settings)}, {tls, tls(Settings)}]}].

seeds(#{"cluster.discovery" := "static", "cluster.static.seeds" := Seeds}) ->
    [list_to_atom(string:trim(Seed)) || Seed <- string:lexemes(Seeds, ",")];
seeds(_) ->
    [].

listeners(Settings) ->
    [{list_to_atom("mqtt:" ++ Kind ++ ":" ++ Id), listen_on(Value)}
     || {"listener." ++ Rest, Value} <- lists:sort(maps:to_list(Settings)), Value =/= "",
        [Kind, Id] <- [string:lexemes(Rest, ".")]].

%% Files of a certificate, or none, for every listener with TLS.
tls(Settings) ->
    [{list_to_atom("mqtt:ssl:" ++ Id),
      [{File, Path} || {File, Key} <- [{certfile, ".certfile"}, {keyfile, ".keyfile"}],
                       {ok, Path} <- [maps:find("listener.ssl." ++ Id ++ Key, Settings)]]}
     || {"listener.ssl." ++ Id, Value} <- maps:to_list(Settings), Value =/= "", not lists:member($., Id)].

listen_on(Value) ->
    case string:split(Value, ":", trailing) of
        [Host, Port] -> {Host, list_to_integer(Port)};
        [Port] -> {"0.0.0.0", list_to_integer(Port)}
    end.

file_settings(Conf) ->
    {ok, Text} = file:read_file(Conf),
    maps:from_list([{string:trim(K), string:trim(V)}
                    || Line <- string:lexemes(binary_to_list(Text), "\n"),
                       [K, V] <- [string:split(Line, "=")], hd(string:trim(K) ++ "#") =/= $#]).

environment() ->
    maps:from_list([{string:lowercase(lists:flatten(string:replace(Key, "__", ".", all))), Value}
                    || "EMQX_" ++ Rest <- os:getenv(), [Key, Value] <- [string:split(Rest, "=")],
                       string:find(Key, "__") =/= nomatch]).
