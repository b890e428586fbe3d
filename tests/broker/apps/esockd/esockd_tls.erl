%% SPDX-License-Identifier: GPL-3.0-or-later
%% Copyright (c) 2026 emqx.fleet contributors

%% TLS in front of a listener: each connection has a process that passes on what comes from either side, over a pair
%% of sockets, so that whoever serves the connection meets a plain one.
%%
%% The packages stay small: Erlang's own TLS is not in them, it is taken from the Erlang that built them.
-module(esockd_tls).
-export([prepare/1, start/2, init/2]).

-ifndef(ERLANG_LIB).
-define(ERLANG_LIB, "/usr/lib/erlang/lib").
-endif.

-define(TIMEOUT, 15000).

%% Options for `start`; without files of a certificate it is one that is made here and known to nobody.
prepare(Files) ->
    [load(App) || App <- [asn1, public_key, ssl]],
    {ok, _} = application:ensure_all_started(ssl),
    case Files of
        [] ->
            Chain = #{root => own_key(), intermediates => [], peer => own_key()},
            #{server_config := Own} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
            [Option || Option = {Name, _} <- Own, Name =/= cacerts];
        _ ->
            Files
    end.

own_key() ->
    [{key, {namedCurve, secp256r1}}, {digest, sha256}].

%% In embedded mode nothing is loaded for being called.
load(App) ->
    [Ebin | _] = filelib:wildcard(filename:join(?ERLANG_LIB, atom_to_list(App) ++ "-*/ebin")),
    true = code:add_pathz(Ebin),
    [{module, _} = code:load_file(list_to_atom(filename:basename(File, ".beam")))
     || File <- filelib:wildcard(filename:join(Ebin, "*.beam"))],
    ok.

start(Options, MFA) ->
    {ok, spawn(?MODULE, init, [Options, MFA])}.

init(Options, {M, F, A}) ->
    receive
        {socket_ready, Socket} ->
            false = emqx_faults:is_on("refuse_tls"),
            {ok, Outside} = ssl:handshake(Socket, Options, ?TIMEOUT),
            {Inside, Served} = pair(),
            {ok, Pid} = apply(M, F, [Served | A]),
            ok = gen_tcp:controlling_process(Served, Pid),
            Pid ! {socket_ready, Served},
            pass(Outside, Inside)
    after ?TIMEOUT ->
        ok
    end.

pair() ->
    Options = [binary, {active, false}, {nodelay, true}],
    {ok, Listen} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | Options]),
    {ok, Port} = inet:port(Listen),
    {ok, One} = gen_tcp:connect({127, 0, 0, 1}, Port, Options),
    {ok, Other} = gen_tcp:accept(Listen),
    ok = gen_tcp:close(Listen),
    {One, Other}.

pass(Outside, Inside) ->
    ok = ssl:setopts(Outside, [{active, once}]),
    ok = inet:setopts(Inside, [{active, once}]),
    receive
        {ssl, Outside, Data} ->
            ok = gen_tcp:send(Inside, Data),
            pass(Outside, Inside);
        {tcp, Inside, Data} ->
            ok = ssl:send(Outside, Data),
            pass(Outside, Inside);
        _ ->
            ssl:close(Outside),
            gen_tcp:close(Inside)
    end.
